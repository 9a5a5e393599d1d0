"""What is asked of a cell, as frozen data: an attack with its budget, or a probe; a cell under one of them is a case.

Ids are made as those of cells are. Knows nothing of torch, YAML or files.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

from tasks.config import Cell, Component, Json, canonical, digest, grown, identify, joined

Norm = Literal["l0", "l1", "l2", "linf"]
Space = Literal["pixel", "standardised"]


@dataclass(frozen=True)
class Budget:
    """How far an attack may go.

    `eps` is a radius in `norm`, in units of `space`: pixels are in [0, 1]; standardised units are those of the
    cell's (pixel - mean) / std, channel by channel. None is no limit (a minimal-norm attack). `box` keeps
    pixels in [0, 1]. `beyond` says what an image farther than eps is: an "error" of an attack that has to keep its
    ball, a "failure" of one that looks for the nearest adversarial point, or "allowed" to a published procedure that is
    known to leave its own ball.
    """

    norm: Norm
    eps: float | None
    space: Space = "pixel"
    box: bool = True
    beyond: Literal["error", "failure", "allowed"] = "error"

    def resolved(self) -> dict[str, Json]:
        """What the id is made from."""
        return {"norm": self.norm, "eps": self.eps, "space": self.space, "box": self.box}


@dataclass(frozen=True)
class Attack:
    """An attack component with its budget, and how the harness uses it.

    `targets`: None, "all" (every class but the label) or the classes aimed at, each (sample, target) by itself.
    `eot`: draws of a stochastic model that an attack's every look averages; `draws`: those whose votes decide what
    the model predicts. `attacked`: "correct" are the samples that the cell classifies correctly, "all" the others
    too. `then`: the rest of a cascade, each member for the samples that withstood those before it. `stopping`: what
    the harness says where it is asked when a sample is finished, as in `tasks.counted`; `tasks.needs.stopping` knows.
    `eps_label` is the user's own text (`8/255`) and `title` the name of a cascade, both for display only.
    """

    component: Component
    budget: Budget
    targets: tuple[int, ...] | Literal["all"] | None = None
    eot: int = 1
    draws: int = 1
    attacked: Literal["correct", "all"] = "correct"
    then: tuple["Attack", ...] = ()
    stopping: Literal["look", "confirmed", "never"] = "look"
    eps_label: str = field(default="", compare=False)
    title: str = field(default="", compare=False)
    kind: ClassVar[Literal["attack"]] = "attack"

    @property
    def chain(self) -> tuple["Attack", ...]:
        """The members of the cascade in order; for any other attack, it alone."""
        return (self, *self.then)

    @property
    def components(self) -> tuple[Component, ...]:
        """Those of the members of the cascade; for any other attack, its own."""
        return tuple(member.component for member in self.chain)

    @property
    def name(self) -> str:
        """The cascade's title, if it has one, or the component's name."""
        return self.title or ("cascade" if self.then else self.component.name)

    def resolved(self) -> dict[str, Json]:
        """What the id is made from."""
        return {
            **self.component.resolved(),
            "budget": self.budget.resolved(),
            "targets": list(self.targets) if isinstance(self.targets, tuple) else self.targets,
            "eot": self.eot,
            "draws": self.draws,
            "attacked": self.attacked,
            "then": [member.resolved() for member in self.then],
            **grown({"stopping": self.stopping}, {"stopping": "look"}),
        }

    @cached_property
    def id(self) -> str:
        """16 hex digits."""
        return identify(self.resolved())

    @cached_property
    def part_of_id(self) -> str:
        """As JSON, what an id has of it."""
        return f'"{self.id}"'


@dataclass(frozen=True)
class Probe:
    """A measurement of a cell that is no attack: once, or after each epoch of its training.

    The latter is made while the cell is trained; a cell that is trained already is trained once more for it.
    """

    component: Component
    epochs: Literal["last", "each"] = "last"
    kind: ClassVar[Literal["probe"]] = "probe"

    @property
    def components(self) -> tuple[Component, ...]:
        """Its own."""
        return (self.component,)

    @property
    def name(self) -> str:
        """The component's."""
        return self.component.name

    def resolved(self) -> dict[str, Json]:
        """What the id is made from."""
        return {**self.component.resolved(), "epochs": self.epochs}

    @cached_property
    def part_of_id(self) -> str:
        """As JSON, what an id has of it."""
        return canonical(self.resolved())


@dataclass(frozen=True, slots=True)
class Case:
    """One cell under one attack or probe, its samples taken in `order`: "shuffled" (one fixed shuffle) or "natural".

    In a transfer the attack, or what of a probe perturbs images, looks at another cell, `source`, and what it makes is
    judged on `cell`.
    """

    cell: Cell
    under: Attack | Probe
    order: Literal["shuffled", "natural"] = "shuffled"
    source: Cell | None = None
    _id: str = field(default="", init=False, compare=False, repr=False)

    def __hash__(self) -> int:
        return hash(self.id)

    def resolved(self) -> dict[str, Json]:
        """Everything that the id stands for, spelt out."""
        return {
            "cell": self.cell.resolved(),
            self.under.kind: self.under.resolved(),
            "order": self.order,
            "source": self.source.resolved() if self.source else None,
        }

    @property
    def id(self) -> str:
        """16 hex digits, over the ids of its parts so that a million cases hash in seconds."""
        if not self._id:
            parts = {
                "cell": f'"{self.cell.id}"',
                self.under.kind: self.under.part_of_id,
                "order": f'"{self.order}"',
                "source": f'"{self.source.id}"' if self.source else "null",
            }
            object.__setattr__(self, "_id", digest(joined(parts)))
        return self._id

    @property
    def attack(self) -> Attack:
        """The attack that it is under. Raises TypeError if that is a probe."""
        if isinstance(self.under, Attack):
            return self.under
        raise TypeError(f"case {self.id} is under the probe {self.name}, no attack")

    @property
    def probe(self) -> Probe:
        """The probe that it is under. Raises TypeError if that is an attack."""
        if isinstance(self.under, Probe):
            return self.under
        raise TypeError(f"case {self.id} is under the attack {self.name}, no probe")

    @property
    def name(self) -> str:
        """The attack's or the probe's."""
        return self.under.name

    @property
    def is_traced(self) -> bool:
        """Whether it is measured in every epoch of the cell's training."""
        return isinstance(self.under, Probe) and self.under.epochs == "each"

    @property
    def seen(self) -> Cell:
        """The cell that the attack looks at."""
        return self.source or self.cell

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells with whose weights its rows are made: its own, and the source of a transfer."""
        return (self.cell, self.source) if self.source else (self.cell,)

    @property
    def prepared_id(self) -> str:
        """The id of what the attack's `prepare` step makes, which all cells that it is transferred to share."""
        return identify({"prepared": self.attack.id, "cell": self.seen.id, "order": self.order})
