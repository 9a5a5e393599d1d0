"""The tables that a spec names: those there are, laid out otherwise if it says so, and its own, in SQL.

Whether columns and axes are there is for those to say who have the tables: `grid.results.asked`.
"""

from dataclasses import replace
from pathlib import Path

from grid.plan.asked import TableAsked
from grid.questions import TABLES
from grid.spec.components import mapping
from grid.spec.keys import TABLE_KEYS
from grid.spec.layers import OVERRIDE, read_text
from grid.spec.nodes import Node, Report, plain
from tasks.words import unknown

ENDING = ".sql"
"""How the name of a file with a table of one's own ends."""


def inline_statements(node: Node, main: Path, report: Report) -> Node:
    """The list of tables, each that is a file of SQL with the file's text in it, under the name of the file."""
    if not isinstance(node.value, list):
        return node
    return replace(node, value=[_inlined(item, f"tables.{i}", main, report) for i, item in enumerate(node.value)])


def read_tables(items: list[tuple[Node, str]], report: Report) -> tuple[TableAsked, ...]:
    """What a list of tables asks for; the first there is where it is empty."""
    asked = (_table(node, key, report) for node, key in items)
    return tuple(dict.fromkeys(asked)) or (TableAsked(TABLES[0]),)


def _inlined(node: Node, key: str, main: Path, report: Report) -> Node:
    children = node.value if isinstance(node.value, dict) else {str(node.value): Node({}, node.line, node.origin)}
    [(name, how), *more] = children.items() if children else [("", node)]
    if more or not name.endswith(ENDING) or not isinstance(how.value, dict | None):
        return node
    folder = main.parent if node.origin.startswith(OVERRIDE) else Path(node.origin).parent
    text = read_text(folder / name, node, key, report)
    said = how.value or {}
    statement = Node(text or "", node.line, node.origin, text or "")
    return replace(node, value={Path(name).stem: replace(how, value={**said, "sql": statement})}, text="")


def _table(node: Node, key: str, report: Report) -> TableAsked:
    if not isinstance(node.value, dict):
        if node.value not in TABLES:
            report.add(node, key, unknown("table", str(plain(node)), [*TABLES, "a file of SQL"]))
        return TableAsked(str(node.value), line=node.line, key=key)
    if len(node.value) != 1:
        report.add(node, key, "must be one table: its name, and a map of " + ", ".join(TABLE_KEYS))
        return TableAsked("")
    [(name, how)] = node.value.items()
    place = f"{key}.{name}"
    said = {} if how.value is None else mapping(how, place, report)
    for option, value in said.items():
        if option not in TABLE_KEYS:
            report.add(value, f"{place}.{option}", unknown("key", option, TABLE_KEYS))
    if "sql" not in said and name not in TABLES:
        report.add(how, place, unknown("table", name, [*TABLES, "a file of SQL"]))
    if "sql" in said:
        _check_own(name, said, place, report)
    lists = {option: _names(said.get(option), f"{place}.{option}", report) for option in TABLE_KEYS if option != "sql"}
    statement = said["sql"].value if "sql" in said else ""
    return TableAsked(name, **lists, sql=str(statement), line=node.line, key=place)


def _check_own(name: str, said: dict[str, Node], place: str, report: Report) -> None:
    statement = said["sql"]
    if name in TABLES:
        report.add(statement, place, "has the name of a table there is: one of your own needs another")
    if not isinstance(statement.value, str) or not statement.value.strip():
        report.add(statement, f"{place}.sql", "must be one SQL statement, which may ask for $grid")
    if "over" in said:
        report.add(said["over"], f"{place}.over", "cannot be said of a table of your own: average in its SQL")


def _names(node: Node | None, key: str, report: Report) -> tuple[str, ...]:
    """A name, or a list of names."""
    if node is None or node.value is None:
        return ()
    items = node.value if isinstance(node.value, list) else [node]
    for item in items:
        if not isinstance(item.value, str):
            report.add(item, key, "must be a name, or a list of names")
    return tuple(str(item.value) for item in items)
