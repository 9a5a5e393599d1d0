"""The spec as a JSON Schema (draft 2020-12), for editors: every component with its parameters, types and defaults.

Made from the signatures that `grid.spec.read` judges by. It knows only what can be said of one value at a time: what
depends on another value (an eps for this attack and none for that, a rule that matches a case) only `check` finds.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from grid.plan.defaults import UNNAMED, USUAL, attack_defaults, defaults
from grid.plan.rule_index import AXES, PARAMETER_KINDS, SOURCE_AXES
from grid.questions import METRICS, TABLES
from grid.spec.components import listed_parameter
from grid.spec.ensembles import ENSEMBLES
from grid.spec.keys import BLOCK_KEYS, HARNESS_KEYS, KEYS, PROBE_KEYS, SAMPLES_KEYS, SHARED_KEYS, SOURCE, SOURCE_KEYS
from grid.spec.read import NAME
from grid.values import FRACTION
from tasks import registry
from tasks.config import CELL_PARTS, Json
from tasks.parameters import CountOrZero, several
from tasks.registry import Description

Schema: TypeAlias = dict[str, Json]

_FOREIGN = r"^[A-Za-z_][\w.]*:\w+$"
_NONE = object()
"""The default of what has none."""
_TEXT: Schema = {"type": "string"}
_SEEDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}


def spec_schema() -> Schema:
    """The schema of a whole spec, with the components that are installed here."""
    properties: dict[str, Json] = {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "extends": {"type": "string", "description": "another spec, relative to this file"},
        "samples": _map({key: _typed(kind) for key, kind in SAMPLES_KEYS.items()}),
        "cells": _list(_block()),
        **_shared(),
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
        "$defs": {**{kind: _entry(kind) for kind in PARAMETER_KINDS}, "cascade": _cascades()},
    }


def _map(properties: dict[str, Json], **more: Json) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _one_or_list(schema: Schema) -> Schema:
    return {"anyOf": [schema, _list(schema)]}


def _named(kind: str) -> Schema:
    """One component of a kind, or several."""
    return _one_or_list({"$ref": f"#/$defs/{kind}"})


def _block() -> Schema:
    properties = {**{kind: _named(kind) for kind in CELL_PARTS}, **_shared(), "variant": _TEXT}
    assert set(properties) == set(BLOCK_KEYS)  # noqa: S101 - as above
    return _map(properties, required=[kind for kind in CELL_PARTS if kind not in USUAL])


def _shared() -> Schema:
    """What a spec says for all of its blocks, and a block for itself."""
    attack: Schema = {"anyOf": [{"$ref": "#/$defs/attack"}, {"$ref": "#/$defs/cascade"}]}
    attacks: Schema = {"anyOf": [attack, {"type": "array", "items": attack}]}
    return dict(zip(SHARED_KEYS, (_SEEDS, attacks, _named("probe")), strict=True))


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
    foreign: Schema = {"type": "string", "pattern": _FOREIGN}
    filled = _map(given, patternProperties={_FOREIGN: {"type": ["object", "null"]}}, minProperties=1, maxProperties=1)
    unnamed = [_parameters(registry.describe(kind, USUAL[kind]))] if kind in UNNAMED else []
    return {"anyOf": [*plain, foreign, filled, *unnamed]}


def _parameters(found: Description[Any]) -> Schema:
    """What stands under a component's name: its parameters with the harness's own keys, or the list that it takes."""
    usual = defaults(found.kind, found.name)
    properties: dict[str, Json] = {}
    for name, parameter in found.parameters.items():
        properties[name] = {"description": parameter.text, **_value(parameter.type, usual.get(name, _NONE))}
    required: list[Json] = [name for name in properties if name not in usual]
    if found.kind == "attack" and found.facts.budget == "eps":
        required.append("eps")
    allowed = _map(properties | _own_keys(found), description=found.summary, required=required)
    if found.open:
        allowed["additionalProperties"] = True
    elif not required:
        allowed["type"] = ["object", "null"]
    listed = listed_parameter(found)
    return {"anyOf": [properties[listed], allowed]} if listed else allowed


def _own_keys(found: Description[Any]) -> Schema:
    """The harness's own keys beside the parameters of a component."""
    if found.kind == "attack":
        return _harness(attack_defaults(found.facts), norm=Literal[found.facts.norms])
    if found.kind == "probe":
        source: Schema = {SOURCE: _source()} if found.facts.sourced else {}
        return {key: _value(kind) for key, kind in PROBE_KEYS.items()} | source
    return {}


def _harness(usual: Mapping[str, Json], **types: Any) -> Schema:  # noqa: ANN401 - typing objects
    keys = {key: _value(kind, usual.get(key, _NONE)) for key, kind in {**HARNESS_KEYS, **types}.items()}
    return {**keys, SOURCE: _source()}


def _source() -> Schema:
    return _map({part: _one_or_list(_typed(CountOrZero)) if part == "seed" else _named(part) for part in SOURCE_KEYS})


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


def _value(kind: Any, usual: Any = _NONE) -> Schema:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """A value that may vary, and its default."""
    schema = _typed(kind)
    varied: Schema = {"anyOf": [schema, _map({"each": _list(schema)}, required=["each"])]}
    return varied if usual is _NONE else {**varied, "default": usual}


def _typed(kind: Any) -> Schema:  # noqa: ANN401 - as above
    listed = several(kind)
    if listed:
        return {**_list(_named(listed.kind)), "minItems": 2}
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
