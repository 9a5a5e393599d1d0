"""Strict YAML: text -> a tree that knows on which line of which file each value stands, and back to text.

The core schema of YAML 1.2 and no more: `1e-3` is a number, `no` is text, only true and false are booleans. Duplicate
keys, other tags, merge keys, several documents and aliases that blow up are refused. Knows nothing of grids.
"""

import math
import re

import yaml

from grid.spec.nodes import Node, Report, Scalar

MAX_VALUES = 60_000
"""How many values a document that a person writes may have."""
MAX_DEPTH = 30
MAX_REPEATED = 10_000
"""How many nodes aliases may add: an alias repeats its anchor's whole subtree."""

_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": r"null|Null|NULL|~|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
_RESOLVERS = [(_TAG + name, re.compile(rf"(?:{pattern})\Z")) for name, pattern in _CORE.items()]
_PARSER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_LOADER = type("_LOADER", (_PARSER,), {"yaml_implicit_resolvers": {None: _RESOLVERS}})
_EMITTER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
_DUMPER = type("_DUMPER", (_EMITTER,), {"yaml_implicit_resolvers": {None: _RESOLVERS}})


def parse(text: str, origin: str, report: Report, max_values: int | None = None) -> Node | None:
    """Read one YAML document; None, with the problem reported, where it has no tree or more values than allowed."""
    try:
        _count(text, max_values)
        root = _compose(text)
        if root is not None:
            return _Reader(origin, report).node(root, root.start_mark.line + 1, "")
        report.add(Node(None, 1, origin), "", "is empty")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        report.add(Node(None, line + 1, origin), "", _explain(error, text, line))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        report.add(Node(None, line + 1, origin), "", "a character that YAML does not allow")
    except (_RefusedError, RecursionError) as error:
        line = error.line if isinstance(error, _RefusedError) else 1
        report.add(Node(None, line, origin), "", str(error))
    return None


def dump(node: Node) -> str:
    """YAML text that `parse` reads back to an equal tree, numbers spelt as they were."""
    return str(yaml.serialize(_yaml(node), Dumper=_DUMPER, allow_unicode=True, width=100))


def read_scalar(text: str) -> Scalar:
    """What an unquoted scalar means. Raises ValueError where it is no finite number or one beyond 64 bits."""
    tag = next((tag.removeprefix(_TAG) for tag, pattern in _RESOLVERS if pattern.match(text)), "str")
    if tag == "int":
        number = int(text, 0) if text[:2] in {"0o", "0x"} else _decimal(text)
        if abs(number) >= 2**63:
            raise ValueError(f"{text} is too large: whole numbers have at most 64 bits")
        return number
    if tag == "float":
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(value):
            raise ValueError(f"{text} is not a finite number")
        return value + 0.0  # so that -0.0 is 0.0, and has its id
    return {"null": None, "bool": text.lower() == "true"}.get(tag, text)


class _RefusedError(Exception):
    """The document as a whole is refused."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


def _decimal(text: str) -> int:
    return int(text) if len(text) < 30 else 2**63


def _count(text: str, most: int | None) -> None:
    """Refuse a text of too many values before a tree is made of it."""
    if most is None or len(text) <= most:  # each value has a character at least
        return
    values = 0
    for event in yaml.parse(text, Loader=_LOADER):
        values += isinstance(event, yaml.NodeEvent)
        if values > most:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise _RefusedError(line, f"has more than {most} values here, of {text.count(chr(10)) + 1} lines in all")


def _compose(text: str) -> yaml.Node | None:
    loader = _LOADER(text)
    try:
        root: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return root


def _explain(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line][: len(lines[line]) - len(lines[line].lstrip())]:
        return "a tab: YAML is indented with spaces"
    if "single document" in str(error.context):
        return "a second document starts here; a spec is one"
    return f"not YAML: {error.problem or error.context}"


class _Reader:
    """Turns PyYAML's graph, in which aliases are shared nodes, into a tree of bounded size."""

    def __init__(self, origin: str, report: Report) -> None:
        self.origin, self.report = origin, report
        self.seen: set[int] = set()
        self.repeated = 0

    def node(self, found: yaml.Node, line: int, key: str, depth: int = 0) -> Node:
        self._bound(found, line, depth)
        match found:
            case yaml.MappingNode():
                return Node(self._map(found, key, depth), line, self.origin)
            case yaml.SequenceNode(value=children):
                self._check_tag(found, key, line, "seq")
                value = [
                    self.node(child, child.start_mark.line + 1, f"{key}.{i}", depth + 1)
                    for i, child in enumerate(children)
                ]
                return Node(value, line, self.origin)
        return Node(self._scalar(found, line, key), line, self.origin, found.value)

    def _bound(self, found: yaml.Node, line: int, depth: int) -> None:
        self.repeated += id(found) in self.seen
        self.seen.add(id(found))
        if depth > MAX_DEPTH:
            raise _RefusedError(line, f"nested more than {MAX_DEPTH} deep, or an alias within its own anchor")
        if self.repeated > MAX_REPEATED:
            raise _RefusedError(line, f"aliases repeat more than {MAX_REPEATED} values")

    def _map(self, found: yaml.MappingNode, key: str, depth: int) -> dict[str, Node]:
        self._check_tag(found, key, found.start_mark.line + 1, "map")
        value: dict[str, Node] = {}
        for name_node, child in found.value:
            line = name_node.start_mark.line + 1
            name = str(name_node.value)
            path = f"{key}.{name}".lstrip(".")
            if not isinstance(name_node, yaml.ScalarNode) or (name == "<<" and not name_node.style):
                self._complain(line, key, "a key must be plain text; merge keys (<<) are not YAML 1.2")
            elif name in value:
                self._complain(line, path, f"duplicate key {name!r}, first on line {value[name].line}")
            else:
                value[name] = self.node(child, line, path, depth + 1)
        return value

    def _scalar(self, found: yaml.Node, line: int, key: str) -> Scalar:
        self._check_tag(found, key, line, "str", *_CORE)
        if found.tag == _TAG + "str":
            return str(found.value)
        try:
            value = read_scalar(found.value)
        except ValueError as error:
            self._complain(line, key, str(error))
            return None
        if isinstance(value, str):
            self._complain(line, key, f"{value!r} is not what its tag says")
        return value

    def _check_tag(self, found: yaml.Node, key: str, line: int, *allowed: str) -> None:
        if found.tag.removeprefix(_TAG) not in allowed:
            self._complain(line, key, f"the tag {found.tag!r} is not of YAML's core schema")

    def _complain(self, line: int, key: str, message: str) -> None:
        self.report.add(Node(None, line, self.origin), key.lstrip("."), message)


def _yaml(node: Node) -> yaml.Node:
    match node.value:
        case list() as children:
            return yaml.SequenceNode(_TAG + "seq", [_yaml(child) for child in children], flow_style=False)
        case dict() as children:
            pairs = [(_yaml(Node(key)), _yaml(child)) for key, child in children.items()]
            return yaml.MappingNode(_TAG + "map", pairs, flow_style=False)
        case str() as text:
            return yaml.ScalarNode(_TAG + "str", text)
    names = {bool: "bool", int: "int", float: "float", type(None): "null"}
    return yaml.ScalarNode(_TAG + names[type(node.value)], node.text or "null")
