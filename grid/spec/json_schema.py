"""The spec as a JSON Schema (draft 2020-12), for editors: every component with its parameters, types and defaults.

Made from the signatures that `grid.spec.read` judges by. It refuses nothing that `check` takes; what it takes and
`check` refuses is of the kinds in ONLY_CHECK: what depends on another value, on a file, or on how a text is spelt.
"""

from collections.abc import Mapping
from typing import Literal

from grid.plan.defaults import USUAL
from grid.plan.rule_index import AXES, PARAMETER_KINDS, SOURCE_AXES
from grid.questions import METRICS, TABLES, is_rate
from grid.spec.component_schema import Schema, definitions, harness, listed, mapped, named, one_or_list, typed
from grid.spec.ensembles import ENSEMBLES, VERSIONS
from grid.spec.keys import BLOCK_KEYS, KEYS, SAMPLES_KEYS, SHARED_KEYS, TABLE_KEYS
from grid.spec.read import NAME
from grid.spec.rules import OVER
from tasks.config import CELL_PARTS, SETTINGS, Json
from tasks.parameters import Count

ONLY_CHECK: Mapping[str, str] = {
    "what cannot go together, as the components themselves say": "(?!)",  # in words of their own
    "rules and published values that match no case": "matches no case",
    "exclusions that leave nothing": "the grid is empty",
    "more variants, cases or rules than can be planned": "more variants|at most",
    "all samples of a dataset that does not declare how many it has": "does not declare how many samples",
    "other files: what a spec extends, the CSV file of published values, tables in SQL": (
        "cannot read|no file|no regular file"
    ),
    "axes and columns that a table does not have, and SQL that does more than read": "unknown (axis|column)|SQL",
    "components of other packages: whether they are there, and what they take": r"\w:\w",
    "a norm or targets that are said of a whole cascade and that a member cannot take": (
        r"attacks\.\d+\.attacks\.\d+(\.\w+)?\.(norm|targets): "
    ),
    "which attacks another library has": "has no attack",
    "a combination of defenses within another": "a combination cannot be part",
    "a probe that looks at another cell after each epoch": "another cell has no epochs",
    "a fraction that is out of bounds, or over zero": r"must be .*, not '.*/.*'",
    "3.0 in the place of a whole number": r"must be .*, not -?\d+(\.\d+)?(e[+-]?\d+)?$",
    "YAML itself: duplicate keys, tags, numbers that are not finite": "duplicate key|tag|not a finite number",
}
"""What only `check` finds, in words, and what the problem that says so looks like."""

_TEXT: Schema = {"type": "string"}
_SCALAR: list[Json] = ["string", "number", "boolean"]
_SEEDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_PLAIN: Schema = {"anyOf": [{"type": [*_SCALAR, "null"]}, {"type": "array", "items": {"$ref": "#/$defs/plain"}}]}
"""A value without a map in it."""
_CASCADES = {"member": ["cascade", "attacks"], "member beside eps": ["cascade", "attacks", "eps"]}
"""The members that a cascade may have, by what has to be said beside them."""


def spec_schema() -> Schema:
    """The schema of a whole spec, with the components that are installed here."""
    properties: dict[str, Json] = {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "extends": {"type": "string", "description": "another spec, relative to this file"},
        "samples": mapped({key: typed(kind) for key, kind in SAMPLES_KEYS.items()}, type=["object", "null"]),
        "cells": listed(_block()),
        **_shared(),
        "exclude": {"type": "array", "items": {**_rule({}), "minProperties": 1}},
        "tables": {"type": "array", "items": _table()},
        "published": {"anyOf": [_TEXT, {"type": "array", "items": _published()}]},
        "profiles": {"type": ["object", "null"], "additionalProperties": {"type": "object"}},
    }
    assert set(properties) == set(KEYS)  # noqa: S101 - a new key of the spec must be described here
    components = {name: schema for kind in PARAMETER_KINDS for name, schema in definitions(kind).items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "attackgrid spec",
        "description": "What only `attackgrid check` finds: " + "; ".join(ONLY_CHECK),
        **mapped(properties),
        "anyOf": [{"required": ["name", "cells"]}, {"required": ["extends"]}],
        "$defs": {**components, "cascade": _cascade(), "plain": _PLAIN},
    }


def _block() -> Schema:
    properties = {**{kind: named(kind) for kind in CELL_PARTS}, **_shared(), "variant": _TEXT}
    assert set(properties) == set(BLOCK_KEYS)  # noqa: S101 - as above
    return mapped(properties, required=[kind for kind in CELL_PARTS if kind not in USUAL])


def _shared() -> Schema:
    """What a spec says for all of its blocks, and a block for itself."""
    attack: Schema = {"anyOf": [{"$ref": "#/$defs/attack"}, {"$ref": "#/$defs/cascade"}]}
    probe: Schema = {"$ref": "#/$defs/probe"}
    settings = [one_or_list(typed(Literal[values])) for values in SETTINGS.values()]
    return dict(zip(SHARED_KEYS, (_SEEDS, *settings, one_or_list(attack, 0), one_or_list(probe, 0)), strict=True))


def _cascade() -> Schema:
    """A list of attacks of which each gets what withstood those before it, and the ready ones by name."""
    common: dict[str, Json] = {"cascade": {"const": True}, "name": {"type": [*_SCALAR, "null"]}, **harness({})}
    written: list[Json] = [
        mapped({**common, "attacks": listed({"$ref": f"#/$defs/{member}"})}, required=[*required])
        for member, required in _CASCADES.items()
    ]
    ready: dict[str, Json] = {}
    for name in ENSEMBLES:
        keys = harness({})
        if name in VERSIONS:
            keys["version"] = {"enum": [*VERSIONS[name]]}
        ready[name] = mapped(keys, required=["eps"])
    return {"anyOf": [*written, mapped(ready, minProperties=1, maxProperties=1)]}


def _rule(more: dict[str, Json]) -> Schema:
    value: Schema = {"$ref": "#/$defs/plain"}
    axes: dict[str, Json] = {axis: one_or_list(typed(kind)) for axis, kind in AXES.items()}
    axes |= dict.fromkeys(SOURCE_AXES, value)
    return mapped(axes | more, patternProperties={rf"^({'|'.join(PARAMETER_KINDS)})\..+$": value})


def _table() -> Schema:
    """A table there is, by its name or with how it is laid out; a file of SQL; or a statement under a name."""
    names: Schema = one_or_list(_TEXT, 0)
    layout: dict[str, Json] = {key: names for key in TABLE_KEYS if key != "sql"}
    ready: dict[str, Json] = {name: mapped(layout, type=["object", "null"]) for name in TABLES}
    del layout["over"]
    own = mapped({**layout, "sql": {"type": "string", "pattern": r"\S"}}, required=["sql"])
    of_file = mapped(layout, type=["object", "null"])
    patterns: dict[str, Json] = {rf"^(?!({'|'.join(TABLES)})$)(?!.*\.sql$)": own, r"\.sql$": of_file}
    one: Schema = {**mapped(ready, minProperties=1, maxProperties=1), "patternProperties": patterns}
    return {"anyOf": [{"enum": list(TABLES)}, {"type": "string", "pattern": r"\.sql$"}, one]}


def _published() -> Schema:
    """A published value, not negative; and at most 1 where it is a rate."""
    rates: list[Json] = [name for name in METRICS if is_rate(name)]
    others: list[Json] = [name for name in METRICS if not is_rate(name)]
    more: dict[str, Json] = {
        "metric": {"enum": list(METRICS)},
        "value": typed(float),
        "source": {"type": _SCALAR, "not": {"const": ""}},
        "note": {"type": [*_SCALAR, "null"]},
        "n": typed(Count | None),
        "over": typed(OVER | None),
    }
    bounded: list[Json] = [
        {"properties": {"metric": {"enum": rates}, "value": {"minimum": 0, "maximum": 1}}},
        {"properties": {"metric": {"enum": others}, "value": {"minimum": 0}}},
    ]
    return {**_rule(more), "required": ["metric", "value", "source"], "anyOf": bounded}
