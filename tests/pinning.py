"""Every built-in component against its snapshot: what has moved, what is missing; and `make snapshots`.

Other libraries' attacks (the open components) are left out: their numbers are those of a version of that library.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pinned import Case, Found, Pinned, Snapshot, how_to_bump, moved, path_of, plain, read, said, write
from pinned_attacks import attack_cases, attacked, probe_cases, probed
from pinned_cells import activation, architecture, defense, head, part_cases, training, training_cases
from pinned_datasets import dataset, dataset_cases, is_absent
from pinned_model import repeatable

from tasks import registry
from tasks.config import Json
from tasks.registry import FOLDERS, REQUIRED, Description
from tasks.types import TaskError

Numbers = Callable[[str, Mapping[str, Json], Mapping[str, Json]], Found]
KINDS: Mapping[str, tuple[Callable[[Description], Iterator[Case]], Numbers]] = {
    "dataset": (dataset_cases, dataset),
    "architecture": (part_cases, architecture),
    "activation": (part_cases, activation),
    "head": (part_cases, head),
    "defense": (part_cases, defense),
    "training": (training_cases, training),
    "attack": (attack_cases, attacked),
    "probe": (probe_cases, probed),
}
"""Of each kind which cases are pinned, and how their numbers are worked out."""


@dataclass(frozen=True)
class Verdict:
    """What became of a component's snapshot: messages about what moved, what there is to add, and what was left
    out: cases that the component refuses, and those whose data is not there."""

    description: Description
    moved: Sequence[str]
    missing: Sequence[Pinned]
    refused: Sequence[Case]
    absent: Sequence[Case]
    is_new: bool

    @property
    def problem(self) -> str:
        """What is wrong, in words; nothing where all is well."""
        kind, name, version = self.description.kind, self.description.name, self.description.version
        file = Path("tasks") / FOLDERS[kind] / f"{name}.py"
        if self.moved:
            return "\n".join([*self.moved, how_to_bump(kind, name, version, file)])
        if self.is_new:
            return f"{kind} {name}, version {version}, has no snapshot {path_of(kind, name, version)}: `make snapshots`"
        if self.missing:
            cases = "\n".join(f"  case {each.case}" for each in self.missing)
            return f"{kind} {name}, version {version}: its snapshot lacks\n{cases}\nAdd them with `make snapshots`"
        return ""


def components() -> list[Description]:
    """The built-in components that are pinned."""
    known = [registry.describe(kind, name) for kind in FOLDERS for name in registry.names(kind)]
    return [each for each in known if each.origin.startswith("tasks.") and not each.open]


def examine(description: Description) -> Verdict:
    """Work a component's numbers out and compare them with its snapshot. Writes nothing."""
    kind, name = description.kind, description.name
    snapshot = read(kind, name, description.version) or Snapshot(kind, name, description.version, [])
    absent = [each.case for each in snapshot.pinned if kind == "dataset" and is_absent(each.case, name)]
    changes = [
        said(kind, name, description.version, each.case, lines)
        for each in snapshot.pinned
        if each.case not in absent and (lines := _changes(description, each))
    ]
    missing, refused = _missing(description, snapshot)
    return Verdict(description, changes, missing, refused, absent, not snapshot.pinned)


def _changes(description: Description, pinned: Pinned) -> list[str]:
    now = numbers(description, pinned.case)
    return [f"is refused: {now}"] if isinstance(now, Exception) else moved(pinned, now)


def _missing(description: Description, snapshot: Snapshot) -> tuple[list[Pinned], list[Case]]:
    """Cases that a signature has and the snapshot has not, and those of them that the component refuses."""
    usual = {key: each.default for key, each in description.parameters.items() if each.default is not REQUIRED}
    found: list[Pinned] = []
    refused: list[Case] = []
    for case in KINDS[description.kind][0](description):
        is_known = replace(snapshot, pinned=[*snapshot.pinned, *found]).has(case, {**usual, **description.added})
        if is_known or (description.kind == "dataset" and is_absent(case, description.name)):
            continue
        now = numbers(description, case)
        if isinstance(now, Exception):
            refused.append(case)
        else:
            found.append(Pinned(case, now))
    return found, refused


def numbers(description: Description, case: Case) -> Found | Exception:
    """What a case comes to, as it is stored, or why the component refuses it.

    A parameter that came after the case was pinned is what it stood for before.
    """
    parameters = {**description.added, **case.parameters}
    with repeatable():
        try:
            found = KINDS[description.kind][1](description.name, case.under, parameters)
        except (TaskError, ValueError, TypeError) as refused:
            return refused
    return {column: plain(value) for column, value in found.items()}


def main() -> int:
    """Write what is missing. 1 where numbers moved and the version did not: of such a component nothing is written."""
    verdicts = [examine(description) for description in components()]
    for verdict in verdicts:
        if verdict.moved:
            print(verdict.problem, file=sys.stderr)
        elif verdict.missing:
            _append(verdict)
    return 1 if any(verdict.moved for verdict in verdicts) else 0


def _append(verdict: Verdict) -> None:
    kind, name, version = verdict.description.kind, verdict.description.name, verdict.description.version
    known = read(kind, name, version)
    kept = known.pinned if known else []
    write(Snapshot(kind, name, version, [*kept, *verdict.missing]))
    print(f"{path_of(kind, name, version)}: {len(verdict.missing)} cases added")
    for case in verdict.refused:
        print(f"  left out, because it is refused: {case}")


if __name__ == "__main__":
    sys.exit(main())
