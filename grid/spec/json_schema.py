"""The spec as a JSON Schema (draft 2020-12), for editors: every component with its parameters, types and defaults.

Made from the signatures that `grid.spec.read` judges by. It knows only what can be said of one value at a time: what
depends on another value (an eps for this attack and none for that, a rule that matches a case) only `check` finds.
"""

from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from grid.plan.defaults import defaults
from grid.plan.rule_index import AXES, PARAMETER_KINDS, SOURCE_AXES
from grid.questions import METRICS, TABLES
from grid.spec.attacks import HARNESS_KEYS, SOURCE_KEYS
from grid.spec.ensembles import ENSEMBLES
from grid.spec.probes import PROBE_KEYS
from grid.spec.read import KEYS, NAME
from grid.values import FRACTION
from tasks import registry
from tasks.config import CELL_PARTS, COMBINED, Json
from tasks.registry import Description

Schema: TypeAlias = dict[str, Json]

_FOREIGN = r"^[A-Za-z_][\w.]*:\w+$"
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_SEEDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}


def spec_schema() -> Schema:
    """The schema of a whole spec, with the components that are installed here."""
    kinds = [kind for kind in PARAMETER_KINDS if kind != "training"]
    properties: dict[str, Json] = {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "extends": {"type": "string", "description": "another spec, relative to this file"},
        "samples": _map({"count": {"anyOf": [{"const": "all"}, _COUNT]}, "order": {"enum": ["shuffled", "natural"]}}),
        "seeds": _SEEDS,
        "cells": _list(_block()),
        "attacks": _attacks(),
        "probes": _probes(),
        "exclude": {"type": "array", "items": _rule({})},
        "tables": {"type": "array", "items": {"enum": list(TABLES)}},
        "published": {"anyOf": [_TEXT, {"type": "array", "items": _published()}]},
        "profiles": {"type": "object", "additionalProperties": {"type": "object"}},
    }
    assert set(properties) == set(KEYS)  # noqa: S101 - a new key of the spec must be described here
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "attackgrid spec",
        **_map(properties),
        "$defs": {**{kind: _entry(kind) for kind in kinds}, "training": _training(), "cascade": _cascades()},
    }


def _map(properties: dict[str, Json], **more: Json) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _one_or_list(schema: Schema) -> Schema:
    return {"anyOf": [schema, _list(schema)]}


def _block() -> Schema:
    axes: dict[str, Json] = {kind: _one_or_list({"$ref": f"#/$defs/{kind}"}) for kind in CELL_PARTS}
    own: dict[str, Json] = {"seeds": _SEEDS, "attacks": _attacks(), "probes": _probes(), "variant": _TEXT}
    return _map(axes | own, required=["dataset", "architecture"])


def _attacks() -> Schema:
    entry: Schema = {"anyOf": [{"$ref": "#/$defs/attack"}, {"$ref": "#/$defs/cascade"}]}
    return {"anyOf": [entry, {"type": "array", "items": entry}]}


def _probes() -> Schema:
    return _one_or_list({"$ref": "#/$defs/probe"})


def _cascades() -> Schema:
    """A list of attacks of which each gets what withstood those before it, and the ready ones by name."""
    members = _list({"$ref": "#/$defs/attack"})
    own: dict[str, Json] = {"cascade": {"const": True}, "name": _TEXT, "attacks": members, **_harness({})}
    ready: dict[str, Json] = {name: _map(_harness({}), required=["eps"]) for name in ENSEMBLES}
    return {
        "anyOf": [
            _map(own, required=["cascade", "attacks"]),
            _map(ready, minProperties=1, maxProperties=1),
        ]
    }


def _entry(kind: str) -> Schema:
    """A component: its name, or a map of its one name to parameters; one of another package is not looked into."""
    found = [registry.describe(kind, name) for name in registry.names(kind)]
    plain: list[Json] = [{"const": each.name, "description": each.summary} for each in found]
    given: dict[str, Json] = {each.name: _parameters(each) for each in found}
    if kind == "defense":
        given[COMBINED] = {"type": "array", "items": _one_or_list({"$ref": f"#/$defs/{kind}"}), "minItems": 2}
    foreign: Schema = {"type": "string", "pattern": _FOREIGN}
    filled = _map(given, patternProperties={_FOREIGN: {"type": ["object", "null"]}}, minProperties=1, maxProperties=1)
    return {"anyOf": [*plain, foreign, filled]}


def _training() -> Schema:
    return _parameters(registry.describe("training", "standard"))


def _parameters(found: Description) -> Schema:
    usual = defaults(found.kind, found.name)
    properties: dict[str, Json] = {}
    for name, parameter in found.parameters.items():
        default: Schema = {"default": usual[name]} if name in usual else {}
        properties[name] = {"description": parameter.text, **_varied(_typed(parameter.type)), **default}
    required: list[Json] = [name for name in properties if name not in usual]
    if found.kind == "attack":
        properties |= _budget(found)
        required += ["eps"] if found.facts["budget"] == "eps" else []
    if found.kind == "probe":
        properties |= {key: _varied(_typed(kind)) for key, kind in PROBE_KEYS.items() if key != "source"}
        properties |= {"source": _source()} if found.facts.get("sourced") else {}
    if found.open:
        return {**_map(properties, description=found.summary, required=required), "additionalProperties": True}
    allowed = _map(properties, description=found.summary, required=required)
    return allowed if required else {**allowed, "type": ["object", "null"]}


def _budget(found: Description) -> Schema:
    """The harness's own keys of an attack."""
    norms = found.facts["norms"]
    return _harness({"norm": norms[0], "space": "pixel", "box": True}, norm=Literal[norms])


def _harness(usual: Schema, **types: Any) -> Schema:  # noqa: ANN401 - typing objects
    keys: Schema = {}
    for key, kind in {**HARNESS_KEYS, **types}.items():
        if key != "source":
            keys[key] = {**_varied(_typed(kind)), **({"default": usual[key]} if key in usual else {})}
    return {**keys, "source": _source()}


def _source() -> Schema:
    parts: dict[str, Json] = {
        part: {"$ref": "#/$defs/training"} if part == "training" else _one_or_list({"$ref": f"#/$defs/{part}"})
        for part in SOURCE_KEYS
        if part != "seed"
    }
    return _map({**parts, "seed": _one_or_list({"type": "integer", "minimum": 0})})


def _rule(more: dict[str, Json]) -> Schema:
    axes: dict[str, Json] = {axis: _one_or_list(_typed(kind)) for axis, kind in AXES.items()}
    axes |= {key: {} for key in SOURCE_AXES}
    pattern = rf"^({'|'.join(PARAMETER_KINDS)})\..+$"
    return _map(axes | more, patternProperties={pattern: {}})


def _published() -> Schema:
    more: dict[str, Json] = {
        "metric": {"enum": list(METRICS)},
        "value": _typed(float),
        "source": _TEXT,
        "note": _TEXT,
    }
    return {**_rule(more), "required": ["metric", "value", "source"]}


def _varied(schema: Schema) -> Schema:
    return {"anyOf": [schema, _map({"each": _list(schema)}, required=["each"])]}


def _typed(kind: Any) -> Schema:  # noqa: ANN401 - a type, as typing spells it, is not a class
    schema: Schema = _with_fractions(TypeAdapter(kind).json_schema())
    return schema


def _with_fractions(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """The same schema, with 8/255 allowed wherever a number is."""
    if isinstance(schema, list):
        return [_with_fractions(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {"anyOf": [schema, {"type": "string", "pattern": f"^{FRACTION}$"}]}
    return {key: _with_fractions(part) for key, part in schema.items()}
