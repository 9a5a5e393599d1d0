"""Whether a user's own SQL only reads. Knows nothing of what it reads."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from grid.errors import UsageError
from grid.results.database import Connection, statement_types

_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_PURE_TABLE_FUNCTIONS = {"range", "generate_series", "unnest"}


def refuse_all_but_reading(con: Connection, text: str) -> None:
    """Raise UsageError unless the text is one statement whose syntax tree has nothing in it but reading.

    The type of the statement does not tell: a SELECT may hold a COPY in a WITH clause, and an EXPLAIN ANALYZE runs
    what it explains. Table functions are listed because some run SQL that is given to them as text.
    """
    types = statement_types(con, text)
    if len(types) != 1:
        raise UsageError(f"one SQL statement at a time, please: this text has {len(types)}")
    if types == ["EXPLAIN"]:
        text = re.sub(r"^\s*explain(\s+analyze)?\b", "", text, count=1, flags=re.IGNORECASE)
    [(serialised,)] = con.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    tree = json.loads(serialised)
    if tree["error"] or any(_does_more_than_read(node) for node in _nodes(tree)):
        raise UsageError(
            "only statements that read are allowed: SELECT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN, "
            f"with no table functions but {', '.join(sorted(_PURE_TABLE_FUNCTIONS))}"
        )


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(child)


def _does_more_than_read(node: Mapping[str, Any]) -> bool:
    if "cte_map" in node:
        return node["type"] not in _READING_NODES
    if node.get("type") == "TABLE_FUNCTION":
        return node["function"]["function_name"].lower() not in _PURE_TABLE_FUNCTIONS
    return False
