"""Several layers to one document: the files a spec extends, then a profile, then `--set`.

Profiles and `--set` are one language: a dotted path with list indices, `*` for every element, and a value. Knows the
shape of a spec only where a component may be written as a plain name; judges nothing that it merges.
"""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from grid.plan.defaults import USUAL
from grid.spec.components import is_unnamed
from grid.spec.keys import ASKED
from grid.spec.nodes import Node, Report, moved
from grid.spec.strict_yaml import MAX_VALUES, parse
from tasks.config import CELL_PARTS
from tasks.words import unknown

MAX_BYTES = 4_000_000
"""The largest file that is read."""
MAX_PARENTS = 20
"""How many files may extend one another."""
OVERRIDE = "--set "
"""How the origin of a value given by `--set` starts: it stands in no file."""

_ENTRIES: dict[tuple[str, ...], str] = {
    **{(key,): kind for key, kind in ASKED.items()},
    **{("cells", key): kind for key, kind in ASKED.items()},
    **{("cells", kind): kind for kind in CELL_PARTS},
}
"""Where components stand, and of which kind: there a key is a component's name, and no path may add one."""


def layered(path: Path, profile: str | None, overrides: Sequence[str], report: Report) -> Node | None:
    """The merged document, without `extends` and `profiles`; None where a file has no tree."""
    root = _with_parents(path, str(path), report, ())
    if root is None or not isinstance(root.value, dict):
        return root
    children = dict(root.value)
    profiles = children.pop("profiles", Node({}))
    root = replace(root, value=children)
    _check_profiles(profiles, report)
    if profile is not None:
        root = _apply_profile(root, profiles, profile, report)
    for override in overrides:
        root = _apply_override(root, override, report)
    return root


def read_text(path: Path, node: Node, key: str, report: Report) -> str | None:
    """The text of a file; None, with the problem reported at `node`, where there is none, or too much of it."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            report.add(node, key, f"{path} is no regular file")
            return None
        if found.st_size > MAX_BYTES:
            report.add(node, key, f"{path} has {found.st_size} bytes; at most {MAX_BYTES} are read")
            return None
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        report.add(Node(None, line, str(path)), "", "is not UTF-8")
    except OSError as error:
        report.add(node, key, f"cannot read {path}: {error.strerror}")
    return None


def _with_parents(path: Path, origin: str, report: Report, below: tuple[Path, ...]) -> Node | None:
    text = read_text(path, Node(None, 0, origin), "", report)
    root = None if text is None else parse(text, origin, report, MAX_VALUES)
    if root is None or not isinstance(root.value, dict) or "extends" not in root.value:
        return root
    children = dict(root.value)
    parent = _parent(path, children.pop("extends"), report, (*below, path.resolve()))
    child = replace(root, value=children)
    return _merge(parent, child) if parent else child


def _parent(path: Path, node: Node, report: Report, below: tuple[Path, ...]) -> Node | None:
    if not isinstance(node.value, str):
        report.add(node, "extends", "must be the path of one spec, relative to this file")
        return None
    target = path.parent / node.value
    if target.resolve() in below:
        report.add(node, "extends", f"{target} extends itself")
        return None
    if len(below) > MAX_PARENTS:
        report.add(node, "extends", f"more than {MAX_PARENTS} files extend one another")
        return None
    if not target.is_file():
        report.add(node, "extends", f"there is no file {target}")
        return None
    parent = _with_parents(target, str(target), report, below)
    if parent and not isinstance(parent.value, dict):
        report.add(parent, "", "must be a map")
        return None
    return parent


def _merge(under: Node, over: Node) -> Node:
    """Maps merge; a list or a scalar replaces."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    both = under.value.keys() & over.value.keys()
    merged = {key: _merge(under.value[key], over.value[key]) for key in both}
    return replace(over, value={**under.value, **over.value, **merged})


def _check_profiles(profiles: Node, report: Report) -> None:
    """Each is a map of changes, whether it is taken or not."""
    if not isinstance(profiles.value, dict | None):
        report.add(profiles, "profiles", "must be a map of name: {path: value}")
        return
    for key, changes in profiles.items("profiles"):
        if not isinstance(changes.value, dict):
            report.add(changes, key, "must be a map of path: value")


def _apply_profile(root: Node, profiles: Node, name: str, report: Report) -> Node:
    known = profiles.value if isinstance(profiles.value, dict) else {}
    if name not in known:
        message = unknown("profile", name, known) if known else f"there is no profile {name!r}: the spec has none"
        report.add(Node(None), "profiles", message)
        return root
    changes = known[name]
    if not isinstance(changes.value, dict):  # reported already
        return root
    for path, value in changes.value.items():
        root = _apply(root, path, value, f"profiles.{name}.{path}", report)
    return root


def _apply_override(root: Node, override: str, report: Report) -> Node:
    origin = OVERRIDE + override
    path, equals, text = override.partition("=")
    own = Report(origin)
    value = _given(text.strip(), own)
    if not path or not equals or value is None or own.problems:
        why = own.problems[0].message if own.problems else "must be path=value"
        report.add(Node(None, 0, ""), origin, why)
        return root
    return _apply(root, path.strip(), moved(value, 0, origin), path.strip(), report)


def _given(text: str, report: Report) -> Node | None:
    """The YAML value after `=`. Without quotes, commas make a list: `seeds=0,1,2` is `[0, 1, 2]`, but `a, b` a text."""
    if not text:
        return Node(None)
    value = parse(text, report.origin, report)
    if value and isinstance(value.value, str) and "," in text and text[0] not in "'\"!":
        listed = parse(f"[{text}]", report.origin, Report(report.origin))
        has_words = listed and any(isinstance(item.value, str) for _, item in listed.items())
        return value if listed is None or (has_words and " " in text) else listed
    return value


def _apply(root: Node, path: str, value: Node, key: str, report: Report) -> Node:
    change = _Change(value)
    changed = change.at(root, tuple(path.split(".")), ())
    if not change.applied:
        word, known = change.missed
        message = unknown("step", word, known) if known else f"there is no {word!r}"
        report.add(value, key, f"the path matches nothing: {message}")
    return changed


def _names(kind: str, entry: Node) -> set[str]:
    return set(entry.value) if isinstance(entry.value, dict) and not is_unnamed(kind, entry) else set()


class _Change:
    """Puts a value where a path leads; counts the places, and keeps the step at which nothing was found."""

    def __init__(self, value: Node) -> None:
        self.value = value
        self.applied = 0
        self.missed: tuple[str, set[str]] = ("", set())

    def at(self, node: Node, steps: tuple[str, ...], above: tuple[str, ...]) -> Node:
        """The tree below `node` with the change; `above` are the keys that led here, without indices."""
        kind = _ENTRIES.get(above)
        if not steps:
            self.applied += 1
            is_other = kind is not None and _names(kind, node) != _names(kind, self.value)
            return self.value if is_other else _merge(node, self.value)
        if isinstance(node.value, list):
            return self._in_list(node, node.value, steps, above)
        if steps[0] == "*":  # where one value may stand for a list of one, so may it here
            return self.at(node, steps[1:], above)
        if kind is not None:
            return self._in_entry(kind, node, steps, above)
        if node.value is None or isinstance(node.value, dict):
            return self._in_map(node, dict(node.value or {}), steps, above)
        return self._nothing(node, steps[0], ())

    def _in_list(self, node: Node, items: list[Node], steps: tuple[str, ...], above: tuple[str, ...]) -> Node:
        index = int(steps[0]) if steps[0].isdecimal() else None
        if index is not None and index >= len(items):
            return self._nothing(node, steps[0], map(str, range(len(items))))
        rest = steps if index is None and steps[0] != "*" else steps[1:]  # a key on a list means every element
        changed = [self.at(item, rest, above) if index in {None, place} else item for place, item in enumerate(items)]
        return replace(node, value=changed)

    def _in_entry(self, kind: str, node: Node, steps: tuple[str, ...], above: tuple[str, ...]) -> Node:
        if is_unnamed(kind, node):
            name = USUAL[kind]
            return self.at(node, steps[1:] if steps[0] == name else steps, (*above, name))
        children: dict[str, Node] = {}
        if isinstance(node.value, str):
            children = {node.value: Node({}, node.line, node.origin)}
        elif isinstance(node.value, dict):
            children = node.value
        for name, given in children.items():
            parts = tuple(name.split("."))
            if steps[: len(parts)] == parts:
                changed = self.at(given, steps[len(parts) :], (*above, name))
                return replace(node, value={**children, name: changed})
        return self._nothing(node, steps[0], children)

    def _in_map(self, node: Node, children: dict[str, Node], steps: tuple[str, ...], above: tuple[str, ...]) -> Node:
        child = children.get(steps[0], Node(None, self.value.line, self.value.origin))
        before = self.applied
        changed = self.at(child, steps[1:], (*above, steps[0]))
        return replace(node, value={**children, steps[0]: changed}) if self.applied > before else node

    def _nothing(self, node: Node, word: str, known: Iterable[str]) -> Node:
        self.missed = (word, self.missed[1] | set(known))
        return node
