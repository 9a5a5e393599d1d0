"""Every attack of Foolbox as a case."""

from tasks.attacks._peer import P, PixelModel, attack_class, called, classes, library, make, pixel_eps
from tasks.cases import Budget
from tasks.config import Json
from tasks.counted import CountedModel
from tasks.packages import install
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import AttackError, Images, Labels, Rows, Steps


@component(
    "attack",
    version=1,
    paper="https://doi.org/10.21105/joss.02607",
    norms=("linf", "l2", "l1", "l0"),
    budget="either",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    requires=("foolbox",),
)
def foolbox(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    attack: str,
    **parameters: Json,
) -> tuple[Images, Steps]:
    """An attack of Foolbox 3, https://doi.org/10.21105/joss.02607: `attack` names its class, such as EADAttack.

    Further parameters are the class's own. The norm must be the one that the class measures. With an eps the result
    is what Foolbox clips to it; without one the class must be one that minimises the distance. A target becomes
    Foolbox's TargetedMisclassification.

    Foolbox draws from global generators and attacks a batch as one, so that a sample's result depends on the
    batch that it is in. Where it fails it may return a black image; where it finds no start for a sample, that one is
    not fooled, and the others are attacked without it. Its version is in no id.
    """
    attacks = library("foolbox.attacks", install("foolbox"))
    box = library("foolbox", install("foolbox"))
    kind = attack_class(attacks, attack, attacks.base.AttackWithDistance)
    norm = box.distances.LpDistance(P[budget.norm])
    made = make(kind, (), parameters, {"distance": norm})
    if getattr(made.distance, "p", norm.p) != norm.p:
        raise AttackError(f"{attack} measures {made.distance}, but the budget's norm is {budget.norm}")
    eps = pixel_eps(model, budget, images.shape[1])
    aimed = box.Misclassification if model.targets is None else box.TargetedMisclassification

    def run(module: PixelModel, pixels: Images, rows: Rows) -> Images:
        wrapped = box.PyTorchModel(module.eval(), bounds=(0, 1), device=pixels.device)
        found: Images = made(wrapped, pixels, aimed(classes(model, labels)[rows]), epsilons=eps)[1]
        return found

    return called(f"foolbox's {attack}", run, model, images, streams)
