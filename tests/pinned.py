"""Snapshots of numbers: what a component of one version computes, as a file, and what has moved since it was taken.

A file is never overwritten by a version that has one: a number that moves needs a new version. Knows nothing of torch,
of kinds of components or of how anything is computed.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.config import Json, canonical

FOLDER = Path(__file__).parent / "snapshots"
RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""How far another processor's float64 may be from a stored number: far more than it is, far less than a change."""
_DIGITS = 10

Found = Mapping[str, Json]


@dataclass(frozen=True)
class Case:
    """What was asked: the component's own `parameters`, all of them, and what it was run `under`.

    `rtol` is the relative tolerance of a case that cannot run in float64.
    """

    under: Mapping[str, Json]
    parameters: Mapping[str, Json]
    rtol: float = field(default=RELATIVE, compare=False)

    def __str__(self) -> str:
        return ", ".join(
            f"{name}={json.dumps(value)}" for name, value in (*self.under.items(), *self.parameters.items())
        )


@dataclass(frozen=True)
class Pinned:
    """A case and the numbers that came of it."""

    case: Case
    found: Found


@dataclass(frozen=True)
class Snapshot:
    """The pinned cases of one version of a component."""

    kind: str
    name: str
    version: int
    pinned: Sequence[Pinned]

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return path_of(self.kind, self.name, self.version)

    def has(self, case: Case, defaults: Mapping[str, Json]) -> bool:
        """Whether the case is pinned. To one that was pinned before a parameter was added `defaults` has its value."""

        def asked(case: Case) -> str:
            return canonical([case.under, {**defaults, **case.parameters}])

        return any(asked(each.case) == asked(case) for each in self.pinned)


def path_of(kind: str, name: str, version: int) -> Path:
    """The file of a component's version."""
    return FOLDER / kind / f"{name}.{version}.json"


def read(kind: str, name: str, version: int) -> Snapshot | None:
    """What was pinned of a version; None where nothing was."""
    path = path_of(kind, name, version)
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))["cases"]
    cases = [Case(each["under"], each["parameters"], each.get("rtol", RELATIVE)) for each in stored]
    found = [each["found"] for each in stored]
    return Snapshot(kind, name, version, [Pinned(*pair) for pair in zip(cases, found, strict=True)])


def write(snapshot: Snapshot) -> None:
    """Keep a snapshot: a line for each case's parameters and for each of its columns."""
    head = json.dumps({"kind": snapshot.kind, "name": snapshot.name, "version": snapshot.version})
    cases = ",\n".join(_rendered(each) for each in snapshot.pinned)
    snapshot.path.parent.mkdir(parents=True, exist_ok=True)
    snapshot.path.write_text(f'{head[:-1]}, "cases": [\n{cases}\n]}}\n', encoding="utf-8")


def _rendered(pinned: Pinned) -> str:
    case, found = pinned.case, ",\n".join(f"  {_line(key)}: {_line(pinned.found[key])}" for key in sorted(pinned.found))
    rtol = "" if case.rtol == RELATIVE else f' "rtol": {case.rtol},'
    return f'{{"under": {_line(case.under)},{rtol}\n "parameters": {_line(case.parameters)},\n "found": {{\n{found}}}}}'


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def plain(value: object) -> Json:
    """A number, or what holds numbers, as it is stored: ten digits, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    assert value is None or isinstance(value, bool | int | str), value
    return value


def moved(pinned: Pinned, now: Found) -> list[str]:
    """What was and what is, of every number that is another one. Counts and words are compared exactly."""
    lines = []
    for column in sorted(pinned.found.keys() | now.keys()):
        if column not in pinned.found or column not in now:
            lines.append(f"{column}: is only there {'now' if column in now else 'before'}")
            continue
        for place, was, is_ in _leaves(pinned.found[column], now[column], ""):
            if not _close(was, is_, pinned.case.rtol):
                lines.append(f"{column}{place}: was {json.dumps(was)}, is {json.dumps(is_)}")
    return lines


def _leaves(was: Json, now: Json, place: str) -> Iterator[tuple[str, Json, Json]]:
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, pair in enumerate(zip(was, now, strict=True)):
            yield from _leaves(*pair, f"{place}[{number}]")
    elif isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        for key in was:
            yield from _leaves(was[key], now[key], f"{place}[{key}]")
    else:
        yield place, was, now


def _close(was: Json, now: Json, rtol: float) -> bool:
    if isinstance(was, float) and isinstance(now, float):
        return math.isclose(was, now, rel_tol=rtol, abs_tol=ABSOLUTE)
    return type(was) is type(now) and was == now


def said(kind: str, name: str, version: int, case: Case, lines: Sequence[str], shown: int = 8) -> str:
    """The message for a case whose numbers moved while the version stayed."""
    more = [f"and {len(lines) - shown} more"] if len(lines) > shown else []
    numbers = "\n".join(f"    {line}" for line in (*lines[:shown], *more))
    return f"{kind} {name}, version {version}: numbers moved\n  case {case}\n{numbers}"


def how_to_bump(kind: str, name: str, version: int, file: Path) -> str:
    """What to do about numbers that moved."""
    return (
        f"If {kind} {name} is meant to compute something else, write version={version + 1} in {file}, "
        "then `make snapshots`; if not, a change of numbers has slipped in."
    )
