"""Cells, attacks and probes in words: the columns that say what each is. Pure."""

import json
import re
from functools import lru_cache

from grid.plan.defaults import UNNAMED, USUAL, attack_defaults, defaults
from tasks import registry
from tasks.cases import Attack, Probe
from tasks.config import CELL_AXES, CELL_PARTS, LABELLED_AXES, SETTINGS, Cell, Component, Json, Value

_BESIDE = (*SETTINGS, "seed")
"""What a cell has beside its components."""


def cell_columns(cell: Cell) -> dict[str, Json]:
    """The columns of `tasks.schema.WANTED` that say what a cell is."""
    parts = {axis: getattr(cell, axis) for axis in CELL_AXES}
    return {
        **{axis: part.name if isinstance(part, Component) else part for axis, part in parts.items()},
        **{f"{part}_label": label(getattr(cell, part)) for part in LABELLED_AXES},
        "cell_label": _cell_label(cell),
    }


def under_columns(under: Attack | Probe | None, source: str | None = None) -> dict[str, Json]:
    """The columns that say what an attack or a probe is; `source`: in what the cell that it looks at differs."""
    attack = under if isinstance(under, Attack) else None
    probe = under if isinstance(under, Probe) else None
    budget = attack.budget if attack else None
    return {
        "probe": probe.name if probe else None,
        "attack": attack.name if attack else None,
        "norm": budget.norm if budget else None,
        "eps": budget.eps if budget else None,
        "eps_label": attack.eps_label if attack and attack.eps_label else None,
        "space": budget.space if budget else None,
        "box": budget.box if budget else None,
        "source": source,
        "attack_label": _attack_label(attack, source) if attack else None,
        "probe_label": _probe_label(probe, source) if probe else None,
    }


def source_label(cell: Cell, source: Cell) -> str:
    """In what the cell that an attack looks at differs from its own."""
    parts = [label(getattr(source, part)) for part in CELL_PARTS if getattr(source, part) != getattr(cell, part)]
    others = [f"{name} {getattr(source, name)}" for name in _BESIDE if getattr(source, name) != getattr(cell, name)]
    return " / ".join([*parts, *others])


@lru_cache(maxsize=10_000)
def label(component: Component) -> str:
    """A component with its parameters that are not defaults."""
    return _label(component, [])


def left_out(text: str, axis: str, value: Value) -> str:
    """A label of these without what it says of an axis, as rules name them: a seed, a component, or a parameter."""
    kind, _, parameter = axis.partition(".")
    parts = text.split(" / ")
    if not parameter:
        said = {str(value), f"{kind} {value}"}
        return " / ".join(part for part in parts if part not in said and not part.startswith(f"{value}("))
    for spelt in _spelt(parameter, value):
        found = rf"(?:(?<=\()|(?<=, )|^){re.escape(spelt)}(?:, |(?=\))|$)"
        parts = [re.sub(r", (?=\)|$)", "", re.sub(found, "", part)).replace("()", "") for part in parts]
    return " / ".join(filter(None, parts))


def _cell_label(cell: Cell) -> str:
    parts = [_short_label(getattr(cell, part)) for part in CELL_PARTS]
    settings = [f"{name} {value}" for name, value in cell.settings.items()]
    return " / ".join([*filter(None, parts), *settings, f"seed {cell.seed}"])


@lru_cache(maxsize=10_000)
def _short_label(component: Component) -> str:
    """A component in words; of one that goes without its name, its parameters alone."""
    if component.kind in UNNAMED and component.name == USUAL[component.kind]:
        return ", ".join(_changed(component))
    return label(component)


def _attack_label(attack: Attack, source: str | None) -> str:
    budget = attack.budget
    usual = attack_defaults(registry.describe("attack", attack.component.name).facts)
    own = [
        *([f"eps={attack.eps_label or budget.eps}"] if budget.eps is not None else []),
        *([f"norm={budget.norm}"] if budget.norm != usual["norm"] else []),
        *([f"space={budget.space}"] if budget.space != usual["space"] else []),
        *([f"box={json.dumps(budget.box)}"] if budget.box != usual["box"] else []),
        *([f"targets={_classes(attack.targets)}"] if attack.targets is not None else []),
        *([f"eot={attack.eot}"] if attack.eot > 1 else []),
        *([f"draws={attack.draws}"] if attack.draws > 1 else []),
        *([f"attacked={attack.attacked}"] if attack.attacked != usual["attacked"] else []),
        *([f"source={source}"] if source else []),
    ]
    if not attack.then:
        return _label(attack.component, own)
    members = "" if attack.title else " then ".join(label(member.component) for member in attack.chain)
    said = ", ".join([*own, *([members] if members else [])])
    return f"{attack.name}({said})"


def _probe_label(probe: Probe, source: str | None) -> str:
    own = [*(["epochs=each"] if probe.epochs == "each" else []), *([f"source={source}"] if source else [])]
    return _label(probe.component, own)


def _classes(targets: tuple[int, ...] | str) -> str:
    return targets if isinstance(targets, str) else json.dumps(list(targets))


def _label(component: Component, own: list[str]) -> str:
    said = ", ".join([*own, *_changed(component)])
    return f"{component.name}({said})" if said else component.name


def _changed(component: Component) -> list[str]:
    """The parameters that are not defaults, as a spec would spell them; components stand for themselves."""
    usual = defaults(component.kind, component.name)
    changed = {name: value for name, value in component.parameters.items() if name not in usual or value != usual[name]}
    return [text for name, value in changed.items() for text in _spelt(name, value)]


def _spelt(name: str, value: Value) -> list[str]:
    if isinstance(value, tuple):
        return [label(part) for part in value]
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
