"""Cases and cells in words: the columns that say what each is. Pure."""

import json

from grid.plan.defaults import defaults
from tasks import registry
from tasks.config import CELL_PARTS, LABELLED_AXES, Attack, Case, Cell, Component, Json, Probe, ProbeCase


def axes(thing: Case | ProbeCase | Cell) -> dict[str, Json]:
    """The columns of `tasks.schema.WANTED` that say what a case or a cell is; an attack's are null for others."""
    cell = thing if isinstance(thing, Cell) else thing.cell
    attack = thing.attack if isinstance(thing, Case) else None
    probe = thing.probe if isinstance(thing, ProbeCase) else None
    budget = attack.budget if attack else None
    source = None if isinstance(thing, Cell) else thing.source
    return {
        **{kind: getattr(cell, kind).name for kind in CELL_PARTS if kind != "training"},
        "seed": cell.seed,
        "probe": probe.name if probe else None,
        "attack": attack.name if attack else None,
        "norm": budget.norm if budget else None,
        "eps": budget.eps if budget else None,
        "eps_label": attack.eps_label if attack and attack.eps_label else None,
        "space": budget.space if budget else None,
        "box": budget.box if budget else None,
        "source": _source_label(cell, source) if source else None,
        "source_cell_id": source.id if source else None,
        **{f"{kind}_label": _label(getattr(cell, kind), []) for kind in LABELLED_AXES},
        "cell_label": _cell_label(cell),
        "attack_label": _attack_label(attack, cell, source) if attack else None,
        "probe_label": _probe_label(probe, cell, source) if probe else None,
    }


def _cell_label(cell: Cell) -> str:
    parts = [_label(getattr(cell, kind), []) for kind in CELL_PARTS if kind != "training"]
    training = ", ".join(_changed(cell.training))
    return " / ".join([*parts, *([training] if training else []), f"seed {cell.seed}"])


def _attack_label(attack: Attack, cell: Cell, source: Cell | None) -> str:
    budget = attack.budget
    described = registry.describe("attack", attack.component.name)
    own = [
        *([f"eps={attack.eps_label or budget.eps}"] if budget.eps is not None else []),
        *([f"norm={budget.norm}"] if budget.norm != described.facts["norms"][0] else []),
        *([f"space={budget.space}"] if budget.space != "pixel" else []),
        *(["box=false"] if not budget.box else []),
        *([f"targets={_classes(attack.targets)}"] if attack.targets is not None else []),
        *([f"eot={attack.eot}"] if attack.eot > 1 else []),
        *([f"draws={attack.draws}"] if attack.draws > 1 else []),
        *(["attacked=all"] if attack.attacked == "all" else []),
        *([f"source={_source_label(cell, source)}"] if source else []),
    ]
    if not attack.then:
        return _label(attack.component, own)
    members = "" if attack.title else " then ".join(_label(member.component, []) for member in attack.chain)
    said = ", ".join([*own, *([members] if members else [])])
    return f"{attack.name}({said})"


def _probe_label(probe: Probe, cell: Cell, source: Cell | None) -> str:
    own = [
        *(["epochs=each"] if probe.epochs == "each" else []),
        *([f"source={_source_label(cell, source)}"] if source else []),
    ]
    return _label(probe.component, own)


def _classes(targets: tuple[int, ...] | str) -> str:
    return targets if isinstance(targets, str) else json.dumps(list(targets))


def _source_label(cell: Cell, source: Cell) -> str:
    """In what the cell that an attack looks at differs from its own."""
    parts = [_label(getattr(source, kind), []) for kind in CELL_PARTS if getattr(source, kind) != getattr(cell, kind)]
    return " / ".join([*parts, *([f"seed {source.seed}"] if source.seed != cell.seed else [])])


def _label(component: Component, own: list[str]) -> str:
    said = ", ".join([*own, *_changed(component)])
    return f"{component.name}({said})" if said else component.name


def _changed(component: Component) -> list[str]:
    """The parameters that are not defaults, as a spec would spell them; the parts of a combination."""
    if component.parts != (component,):
        return [_label(part, []) for part in component.parts]
    usual = defaults(component.kind, component.name)
    given = component.parameters.items()
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in given
        if name not in usual or value != usual[name]
    ]
