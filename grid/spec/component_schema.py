"""Components in the JSON Schema of specs: what stands under each name, from the signatures that a spec is judged by.

Knows one entry at a time, and a type at a time below it; nothing of blocks or of what a spec says elsewhere.
"""

from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from grid.plan.defaults import UNNAMED, USUAL, attack_defaults, defaults
from grid.spec.components import Open, listed_parameter
from grid.spec.keys import BUDGET_KEYS, HARNESS_KEYS, PROBE_KEYS, SOURCE, SOURCE_KEYS
from grid.values import FRACTION
from tasks import registry
from tasks.config import SETTINGS, Json
from tasks.parameters import CountOrZero, several
from tasks.registry import Description

Schema: TypeAlias = dict[str, Json]
Role: TypeAlias = Literal["asked", "member", "member beside eps"]
"""Where an attack stands: by itself, in a cascade, or in a cascade whose eps is said beside its attacks."""

_FOREIGN = r"^[A-Za-z_][\w.]*:\w+$"
_NONE = object()
"""The default of what has none."""


def definitions(kind: str) -> dict[str, Json]:
    """The schemas of one component of a kind, by the names under which they are referred to."""
    if kind != "attack":
        return {kind: _entry(kind)}
    roles: list[Role] = ["member", "member beside eps"]
    return {kind: _entry(kind), **{role: _entry(kind, role) for role in roles}}


def mapped(properties: dict[str, Json], **more: Json) -> Schema:
    """A map of these keys and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def listed(items: Schema, least: int = 1) -> Schema:
    """A list."""
    return {"type": "array", "items": items, "minItems": least}


def one_or_list(schema: Schema, least: int = 1) -> Schema:
    """One of something, or several."""
    return {"anyOf": [schema, listed(schema, least)]}


def named(kind: str) -> Schema:
    """One component of a kind, or several."""
    return one_or_list({"$ref": f"#/$defs/{kind}"})


def harness(usual: Schema, most: int | None = None, **types: Any) -> Schema:  # noqa: ANN401 - typing objects
    """The keys of an attack's map that are the harness's own."""
    schemas = {key: typed(kind) for key, kind in {**HARNESS_KEYS, **types}.items()}
    schemas["targets"]["not"] = {"const": []}
    keys = {key: _varied(schema, usual.get(key, _NONE), most) for key, schema in schemas.items()}
    return {**keys, SOURCE: _source()}


def typed(kind: Any) -> Schema:  # noqa: ANN401 - a type, as typing spells it, is not a class
    """One value of a type."""
    parts = several(kind)
    if parts:
        return {**listed(named(parts.kind)), "minItems": 2}
    schema: Schema = _with_fractions(TypeAdapter(kind).json_schema())
    return schema


def _entry(kind: str, role: Role = "asked") -> Schema:
    """A component: its name, or a map of its one name to parameters; one of another package is not looked into."""
    found = [registry.describe(kind, name) for name in registry.names(kind)]
    if role != "asked":
        found = [each for each in found if not each.facts.prepared]
    plain: list[Json] = [
        {"const": each.name, "description": each.summary} for each in found if not _required(each, role)
    ]
    given: dict[str, Json] = {each.name: _parameters(each, role) for each in found}
    foreign: Schema = {"type": "string", "pattern": _FOREIGN}
    any_given: Schema = {_FOREIGN: {"type": ["object", "array", "null"]}}
    filled = mapped(given, patternProperties=any_given, minProperties=1, maxProperties=1)
    unnamed = [_parameters(registry.describe(kind, USUAL[kind]), role)] if kind in UNNAMED else []
    return {"anyOf": [*plain, foreign, filled, *unnamed]}


def _parameters(found: Description[Any], role: Role) -> Schema:
    """What stands under a component's name: its parameters with the harness's own keys, or the list that it takes."""
    usual = defaults(found.kind, found.name)
    most = None if role == "asked" else 1
    properties: dict[str, Json] = {}
    for name, parameter in found.parameters.items():
        value = _varied(typed(parameter.type), usual.get(name, _NONE), most)
        properties[name] = {"description": parameter.text, **value}
    required = _required(found, role)
    allowed = mapped(properties | _own_keys(found, role, most), description=found.summary, required=required)
    if found.open:
        allowed["additionalProperties"] = _varied(typed(Open), most=most)
    if not required:
        allowed["type"] = ["object", "null"]
    alone = listed_parameter(found)
    return {"anyOf": [properties[alone], allowed]} if alone else allowed


def _required(found: Description[Any], role: Role) -> list[Json]:
    """What has to be written under a component's name."""
    usual = defaults(found.kind, found.name)
    needs_eps = found.kind == "attack" and found.facts.budget == "eps" and role != "member beside eps"
    return [*(name for name in found.parameters if name not in usual), *(["eps"] if needs_eps else [])]


def _own_keys(found: Description[Any], role: Role, most: int | None) -> Schema:
    """The harness's own keys beside the parameters of a component."""
    if found.kind == "attack":
        keys = harness(attack_defaults(found.facts), most, norm=Literal[found.facts.norms])
        if "targeted" not in found.facts.targeting:
            keys["targets"] = False
        return keys if role == "asked" else {key: key in BUDGET_KEYS and keys[key] for key in keys}
    if found.kind == "probe":
        source: Json = _source() if found.facts.sourced else False
        return {**{key: _varied(typed(kind)) for key, kind in PROBE_KEYS.items()}, SOURCE: source}
    return {}


def _source() -> Schema:
    others: dict[str, Any] = {"seed": CountOrZero, **{name: Literal[values] for name, values in SETTINGS.items()}}
    parts: Schema = {part: one_or_list(typed(others[part])) if part in others else named(part) for part in SOURCE_KEYS}
    return mapped(parts, minProperties=1)


def _varied(schema: Schema, usual: Any = _NONE, most: int | None = None) -> Schema:  # noqa: ANN401 - any value
    """A value that may vary, and its default. `most`: how many values the `each` of it may have."""
    each = listed(schema) if most is None else {**listed(schema), "maxItems": most}
    varied: Schema = {"anyOf": [schema, mapped({"each": each}, required=["each"])]}
    return varied if usual is _NONE else {**varied, "default": usual}


def _with_fractions(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """The same schema, with 8/255 allowed wherever a number is."""
    if isinstance(schema, list):
        return [_with_fractions(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {"anyOf": [schema, {"type": "string", "pattern": f"^{FRACTION}$"}]}
    return {key: _with_fractions(part) for key, part in schema.items()}
