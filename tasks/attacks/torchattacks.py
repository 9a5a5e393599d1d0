"""Every attack of torchattacks as a case."""

from tasks.attacks._peer import PixelModel, attack_class, called, classes, library, make, pixel_eps, refuse_eps, seed_of
from tasks.cases import Budget
from tasks.config import Json
from tasks.counted import CountedModel
from tasks.packages import install
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Steps

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "l0": "L0"}


@component(
    "attack",
    version=1,
    paper="https://arxiv.org/abs/2010.01950",
    norms=("linf", "l2", "l1", "l0"),
    budget="either",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    requires=("torchattacks",),
)
def torchattacks(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    attack: str,
    **parameters: Json,
) -> tuple[Images, Steps]:
    """An attack of torchattacks 3, https://arxiv.org/abs/2010.01950: `attack` names its class, such as PGDL2.

    Further parameters are the class's own. A class with a parameter `eps` needs a budget with an eps, in its own norm;
    any other class takes none. A target is given by its label.

    torchattacks draws from global generators and attacks a batch as one, so that a sample's result depends on the
    batch that it is in. Where it fails it returns its last point. Its version is in no id.
    """
    package = library("torchattacks", install("torchattacks"))
    kind = attack_class(package, attack, package.attack.Attack)
    eps = pixel_eps(model, budget, images.shape[1])
    refuse_eps(kind, eps)
    ours = {"eps": eps, "norm": _NORMS[budget.norm]}
    # Without a seed of their own, some classes seed the global generators with 0.
    usual = {"seed": seed_of(streams), "n_classes": model.num_classes}

    def run(module: PixelModel, pixels: Images, rows: Rows) -> Images:
        made = make(kind, (module.eval(),), parameters, ours, usual)
        if model.targets is not None:
            made.set_mode_targeted_by_label(quiet=True)
        found: Images = made(pixels, classes(model, labels)[rows])
        return found

    return called(f"torchattacks' {attack}", run, model, images, streams)
