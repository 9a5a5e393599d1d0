"""The component that `attackgrid test` names, with the parameters given for it, as it is asked to keep its promises.

Imports it, other than what checks a spec. Knows nothing of what is promised.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grid.errors import UsageError
from grid.spec.components import Open, components
from grid.spec.nodes import Node, Report, plain
from grid.spec.strict_yaml import parse
from grid.values import accept
from tasks import registry
from tasks.contracts.subject import Subject, kinds_of
from tasks.declaration import Description
from tasks.parameters import several
from tasks.sources import RAISED
from tasks.types import DataRoot
from tasks.words import unknown


def subject_of(name: str, kind: str | None, given: Sequence[str], root: Path) -> Subject:
    """A component by its name, of the only kind that has one of that name unless the kind is said.

    `given` are texts `parameter=value`, values as a spec has them. Raises UsageError where there is no such component,
    it cannot be imported, several kinds have one, or a parameter is not what its type allows.
    """
    if kind and kind not in registry.FOLDERS:
        raise UsageError(unknown("kind", kind, registry.FOLDERS))
    try:
        kinds = [kind] if kind else kinds_of(name)
        found = registry.describe(kinds[0], name)
    except (registry.UnknownComponentError, registry.ComponentSourceError) as error:
        raise UsageError(str(error)) from error
    if len(kinds) > 1:
        raise UsageError(f"{name} is {' and '.join(kinds)}: say which, by --kind")
    try:
        registry.load(kinds[0], name)
    except RAISED as error:
        raise UsageError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    report = Report("--set")
    parameters = dict(_parameter(found, text, report) for text in given)
    report.finish()
    return Subject(kinds[0], name, parameters, DataRoot(root))


def _parameter(found: Description[Any], text: str, report: Report) -> tuple[str, Any]:
    """The name and the value of one; a value that is not allowed is reported."""
    name, equals, written = text.partition("=")
    node = parse(written, "", report) if written.strip() else Node(None)
    known = found.parameters.get(name)
    if not equals:
        report.add(Node(None), text, "must be parameter=value")
    elif known is None and not found.open:
        report.add(Node(None), name, unknown("parameter", name, found.parameters, f"{found.kind} {found.name!r}"))
    elif node is not None and known is not None and (listed := several(known.type)):
        return name, components(listed.kind, node, name, report)
    elif node is not None:
        try:
            return name, accept(known.type if known else Open, plain(node))
        except ValueError as error:
            report.add(Node(None), name, str(error))
    return name, None
