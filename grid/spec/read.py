"""YAML -> GridSpec: the only place that judges what a user wrote.

Every problem of a spec is found in one go, each with its line. Knows nothing of torch, stores or Ray: components are
judged by their signatures, read from source.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from grid.plan.asked import Asked, Block, GridSpec, Rule, Samples
from grid.plan.defaults import USUAL
from grid.plan.expand import split_size
from grid.plan.selection import never, select
from grid.spec.attacks import attacks
from grid.spec.components import alternatives, components, mapping
from grid.spec.contradictions import report_contradictions
from grid.spec.doubts import doubt_counts, doubt_ensembles
from grid.spec.keys import ASKED, BLOCK_KEYS, KEYS, SAMPLES_KEYS
from grid.spec.layers import layered
from grid.spec.nodes import Node, Report, plain
from grid.spec.probes import probes
from grid.spec.rules import inline_published, read_published, read_rule
from grid.spec.sources import settings
from grid.spec.strict_yaml import dump, parse
from grid.spec.tables import inline_statements, read_tables
from grid.values import accept
from tasks.config import CELL_PARTS, SETTINGS, Component
from tasks.parameters import CountOrZero
from tasks.words import unknown

MAX_CASES = 2_000_000
"""How many cases a grid may have, before exclusion."""
MAX_RULES = 250_000
"""How many rules, published values among them, are applied to blocks: each to each."""
MAX_EXPLAINED = 100
"""Of how many rules that select nothing it is said why."""
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""What the name of a grid looks like: it becomes a folder of the store."""


class Common(NamedTuple):
    """What a block has of the whole spec unless it says otherwise: its settings and its seeds."""

    settings: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]


_AT_FIRST = Common({name: values[:1] for name, values in SETTINGS.items()}, (0,))
_READERS: Mapping[str, Callable[[Node, str, Report], tuple[Asked, ...]]] = {"attack": attacks, "probe": probes}


def load_spec(path: Path, *, profile: str | None = None, overrides: Sequence[str] = ()) -> GridSpec:
    """Read a spec with what it extends, one of its profiles and `path=value` overrides on top.

    Raises SpecError with every problem. A profile or an override may leave exclusions and published values without a
    case: these are then dropped.
    """
    report = Report(str(path))
    root = layered(path, profile, overrides, report)
    if root is not None and isinstance(root.value, dict) and "published" in root.value:
        listed = inline_published(root.value["published"], path, report)
        root = replace(root, value={**root.value, "published": listed})
    if root is not None and isinstance(root.value, dict) and "tables" in root.value:
        root = replace(root, value={**root.value, "tables": inline_statements(root.value["tables"], path, report)})
    return _judge(root, report, drop_unused=profile is not None or bool(overrides))


def parse_document(text: str, origin: str) -> GridSpec:
    """Read a spec from its own `document`: one text that needs no other file. Raises SpecError."""
    report = Report(origin, limited=False)
    return _judge(parse(text, origin, report), report, drop_unused=False)


def _judge(root: Node | None, report: Report, *, drop_unused: bool) -> GridSpec:
    if root is None or not isinstance(root.value, dict):
        if root is not None:  # one without a tree has been reported by whoever read it
            report.add(root, "", "must be a map of " + ", ".join(KEYS))
        report.finish()
        raise AssertionError  # finish has raised
    spec = _read(root, report)
    asked = sum(block.num_asked for block in spec.blocks)
    if report.limited and asked > MAX_CASES:
        report.add(root, "cells", f"the blocks come to {asked} cases; at most {MAX_CASES} are planned at once")
    rules = len(spec.exclude) + len(spec.published)
    if report.limited and rules * len(spec.blocks) > MAX_RULES:
        said = f"{rules} rules and published values on {len(spec.blocks)} blocks"
        report.add(root, "published", f"{said} are {rules * len(spec.blocks)} to look up; at most {MAX_RULES} are")
    may_exclude = not report.problems  # a rule may select nothing only because what it names is in error
    if may_exclude:
        spec, root = _check_rules(spec, root, report, drop_unused=drop_unused)
    if report.limited and asked <= MAX_CASES and (may_exclude or not spec.exclude):
        report_contradictions(spec, root, report)
    report.finish()
    return replace(spec, document=dump(root), warnings=tuple(sorted(report.warnings)))


def _read(root: Node, report: Report) -> GridSpec:
    children = mapping(root, "", report)
    _check_keys(children, "", KEYS, report)
    for key in {"extends", "profiles"} & children.keys():
        report.add(children[key], key, "has no place in a merged document, which is complete in itself")
    samples = _samples(children.get("samples", Node({})), report)
    common = _common(children, "", _AT_FIRST, report)
    shared = {key: _READERS[kind](children[key], key, report) if key in children else () for key, kind in ASKED.items()}
    blocks = [
        _block(node, key, common, shared, report)
        for node, key in _listed(children.get("cells", Node(None, root.line, root.origin)), "cells", report)
    ]
    spec = GridSpec(
        name=_name(children.get("name", root), report),
        samples=samples,
        blocks=tuple(blocks),
        exclude=tuple(read_rule(*item, report) for item in _optional(children, "exclude", report)),
        tables=read_tables(_optional(children, "tables", report), report),
        published=tuple(read_published(*item, report) for item in _optional(children, "published", report)),
    )
    _check_sizes(spec, root, report)
    return spec


def _name(node: Node, report: Report) -> str:
    if not isinstance(node.value, str) or not NAME.fullmatch(node.value):
        report.add(node, "name", "must be there: letters, digits, '.', '_' and '-', the first no '.'")
    return str(node.value)


def _samples(node: Node, report: Report) -> Samples:
    children = mapping(node, "samples", report)
    _check_keys(children, "samples.", (*SAMPLES_KEYS,), report)
    given = {"count": Node("all"), "order": Node("shuffled"), **children}
    count, order = (_value(kind, given[key], f"samples.{key}", report) for key, kind in SAMPLES_KEYS.items())
    return Samples(None if count == "all" else count, order or "shuffled")


def _seeds(node: Node, key: str, report: Report) -> tuple[int, ...]:
    values = [_value(CountOrZero, item, place, report) for item, place in _listed(node, key, report)]
    return tuple(dict.fromkeys(value for value in values if value is not None))


def _common(children: dict[str, Node], prefix: str, otherwise: Common, report: Report) -> Common:
    """The settings and seeds that a spec says for all its blocks, or a block for itself."""
    given = {name: settings(name, children[name], f"{prefix}{name}", report) for name in SETTINGS if name in children}
    seeds = _seeds(children["seeds"], f"{prefix}seeds", report) if "seeds" in children else otherwise.seeds
    return Common({**otherwise.settings, **given}, seeds)


def _block(node: Node, key: str, common: Common, shared: Mapping[str, tuple[Asked, ...]], report: Report) -> Block:
    children = mapping(node, key, report)
    _check_keys(children, f"{key}.", BLOCK_KEYS, report)
    parts = {part: _axis(part, node, children, key, report) for part in CELL_PARTS}
    variant = children.get("variant", Node(""))
    own = _common(children, f"{key}.", common, report)
    asked = [
        _READERS[kind](children[name], f"{key}.{name}", report) if name in children else shared[name]
        for name, kind in ASKED.items()
    ]
    return Block(
        variant=str(_value(str, variant, f"{key}.variant", report)),
        parts=parts,
        settings=own.settings,
        seeds=own.seeds,
        asked=tuple(itertools.chain(*asked)),
    )


def _axis(kind: str, block: Node, children: dict[str, Node], key: str, report: Report) -> tuple[Component, ...]:
    place = f"{key}.{kind}"
    node = children.get(kind, Node(USUAL.get(kind), block.line, block.origin))
    if kind not in children and kind not in USUAL:
        report.add(node, place, f"a block needs its {kind}")
        return ()
    return components(kind, node, place, report)


def _check_sizes(spec: GridSpec, root: Node, report: Report) -> None:
    asks_all = spec.samples.count is None
    for dataset in (dataset for block in spec.blocks for dataset in block.parts["dataset"]):
        if asks_all and split_size(dataset) is None:
            message = f"dataset {dataset.name!r} does not declare how many samples it has: give a count"
            report.add(root, "samples.count", message)
    doubt_counts(spec, root, report)
    doubt_ensembles(spec, root, report)


def _check_rules(spec: GridSpec, root: Node, report: Report, *, drop_unused: bool) -> tuple[GridSpec, Node]:
    """Report the rules that select nothing (or drop them), and a grid that is empty."""
    selection = select(spec)
    spec = replace(spec, selection=selection)
    exclude, published = selection.unused_exclude, selection.unused_published
    if drop_unused and (exclude or published):
        spec, root = _without(spec, root, {"exclude": set(exclude), "published": set(published)})
    else:
        rules = {f"exclude.{i}": spec.exclude[i] for i in exclude}
        rules |= {f"published.{i}": spec.published[i].rule for i in published}
        nodes = {key: node for parent, child in root.items() for key, node in child.items(parent)} if rules else {}
        for key, rule in rules.items():
            why = _why(spec, rule) if len(report.problems) < MAX_EXPLAINED else ""
            report.add(nodes[key], key, "matches no case" + why)
    if selection.is_empty:
        report.add(root, "exclude", "the grid is empty: every case is excluded")
    return spec, root


def _why(spec: GridSpec, rule: Rule) -> str:
    return "".join(f"; none has {axis} {rule.allowed[axis][-1]!r}" for axis in never(spec, rule))


def _without(spec: GridSpec, root: Node, unused: dict[str, set[int]]) -> tuple[GridSpec, Node]:
    """The spec without the rules that select nothing, in its document too."""
    children = mapping(root, "", Report(""))
    left: dict[str, list[int]] = {}
    for key, numbers in unused.items():
        items = [node for node, _ in alternatives(children.get(key, Node([])), key)]
        left[key] = [number for number in range(len(items)) if number not in numbers]
        if key in children:
            listed = replace(children[key], value=[items[number] for number in left[key]])
            children = {**children, key: listed}
    kept = replace(
        spec,
        exclude=tuple(spec.exclude[number] for number in left["exclude"]),
        published=tuple(spec.published[number] for number in left["published"]),
        selection=None,
    )
    return kept, replace(root, value=children)


def _check_keys(children: dict[str, Node], prefix: str, known: Sequence[str], report: Report) -> None:
    for key, node in children.items():
        if key not in known:
            report.add(node, prefix + key, unknown("key", key, known))


def _listed(node: Node, key: str, report: Report) -> list[tuple[Node, str]]:
    if not isinstance(node.value, list) or not node.value:
        written = "" if isinstance(node.value, dict | list | None) else f": write [{node.text}]"
        report.add(node, key, f"must be a list with at least one entry{written}")
        return []
    return alternatives(node, key)


def _optional(children: dict[str, Node], key: str, report: Report) -> list[tuple[Node, str]]:
    return _listed(children[key], key, report) if key in children and children[key].value != [] else []


def _value(kind: Any, node: Node, key: str, report: Report) -> Any:  # noqa: ANN401 - a typing object, and its value
    try:
        return accept(kind, plain(node))
    except ValueError as error:
        report.add(node, key, str(error))
        return None
