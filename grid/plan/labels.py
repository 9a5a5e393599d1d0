"""Cells, attacks and probes in words: the columns that say what each is. Pure."""

import json
from functools import lru_cache

from grid.plan.defaults import defaults
from tasks import registry
from tasks.config import CELL_AXES, CELL_PARTS, LABELLED_AXES, Attack, Cell, Component, Json, Probe


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
    return " / ".join([*parts, *([f"seed {source.seed}"] if source.seed != cell.seed else [])])


@lru_cache(maxsize=10_000)
def label(component: Component) -> str:
    """A component with its parameters that are not defaults."""
    return _label(component, [])


def _cell_label(cell: Cell) -> str:
    parts = [label(getattr(cell, part)) for part in CELL_PARTS if part != "training"]
    training = _training_label(cell.training)
    return " / ".join([*parts, *([training] if training else []), f"seed {cell.seed}"])


@lru_cache(maxsize=1_000)
def _training_label(training: Component) -> str:
    return ", ".join(_changed(training))


def _attack_label(attack: Attack, source: str | None) -> str:
    budget = attack.budget
    norms = registry.describe("attack", attack.component.name).facts["norms"]
    own = [
        *([f"eps={attack.eps_label or budget.eps}"] if budget.eps is not None else []),
        *([f"norm={budget.norm}"] if budget.norm != norms[0] else []),
        *([f"space={budget.space}"] if budget.space != "pixel" else []),
        *(["box=false"] if not budget.box else []),
        *([f"targets={_classes(attack.targets)}"] if attack.targets is not None else []),
        *([f"eot={attack.eot}"] if attack.eot > 1 else []),
        *([f"draws={attack.draws}"] if attack.draws > 1 else []),
        *(["attacked=all"] if attack.attacked == "all" else []),
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
    """The parameters that are not defaults, as a spec would spell them; the parts of a combination."""
    if component.parts != (component,):
        return [label(part) for part in component.parts]
    usual = defaults(component.kind, component.name)
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in component.parameters.items()
        if name not in usual or value != usual[name]
    ]
