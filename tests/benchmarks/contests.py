"""Which attacks are compared, with which settings, and how each library is called for the same.

Libraries are called as their own documentation does, without the adapters of this project. An eps is 0.1 in linf.
"""

import inspect
import sys
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import nn

from tasks.cases import Budget

LINF, L2, L0 = Budget("linf", None), Budget("l2", None), Budget("l0", None)
BALL = Budget("linf", 0.1)
INF = float("inf")


@dataclass(frozen=True)
class Contest:
    """One attack of ours with its settings, and what its `peers` use. `samples` are those for the CNN and the MLP.

    A `slow` one runs once.
    """

    name: str
    attack: str
    budget: Budget
    samples: tuple[int, int]
    parameters: dict
    peers: dict[str, dict] = field(default_factory=dict)
    slow: bool = False


def use(attack, **parameters):
    return {"attack": attack, **parameters}


def foolbox(module, images, labels, *, attack, eps=None, **parameters):
    import foolbox as library

    wrapped = library.PyTorchModel(module, bounds=(0, 1), device=images.device)
    made = getattr(library.attacks, attack)(**parameters)
    return made(wrapped, images, library.Misclassification(labels), epsilons=eps)[1]


def torchattacks(module, images, labels, *, attack, **parameters):
    import torchattacks as library

    return getattr(library, attack)(module, **parameters)(images, labels)


def art(module, images, labels, *, attack, **parameters):
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    device = "gpu" if images.is_cuda else "cpu"
    loss, shape = nn.CrossEntropyLoss(), tuple(images.shape[1:])
    wrapped = PyTorchClassifier(module, loss, shape, 10, clip_values=(0.0, 1.0), device_type=device)
    kind = getattr(evasion, attack)
    usual = {"verbose": False, "batch_size": len(images)}
    known = {name: value for name, value in usual.items() if name in inspect.signature(kind).parameters}
    made = kind(wrapped, **known, **parameters)
    found = made.generate(images.cpu().numpy(), nn.functional.one_hot(labels, 10).cpu().numpy())
    return torch.from_numpy(found)


def adv_lib(module, images, labels, *, attack, **parameters):
    try:
        import visdom  # noqa: F401 - the library imports it for its plots, which nobody asks for here
    except ImportError:
        sys.modules["visdom"] = ModuleType("visdom")
    from adv_lib import attacks

    return getattr(attacks, attack)(module, images, labels, **parameters)


def autoattack(module, images, labels, *, attack, norm="Linf", eps=0.1, **settings):
    from autoattack import AutoAttack

    options = {"norm": norm, "eps": eps, "device": images.device, "verbose": False}
    made = AutoAttack(module, version="custom", attacks_to_run=[attack], **options)
    for name, value in settings.items():
        part, _, setting = name.partition("__")
        setattr(getattr(made, part), setting, value)
    return made.run_standard_evaluation(images, labels, bs=len(images))


CALLS = {"foolbox": foolbox, "torchattacks": torchattacks, "art": art, "adv_lib": adv_lib, "autoattack": autoattack}


def pgd_peers():
    return {
        "foolbox": use("LinfPGD", eps=0.1, steps=40, abs_stepsize=0.01),
        "torchattacks": use("PGD", eps=0.1, alpha=0.01, steps=40),
        "art": use("ProjectedGradientDescent", eps=0.1, eps_step=0.01, max_iter=40, num_random_init=1),
        "adv_lib": use("pgd_linf", ε=0.1, steps=40, absolute_step_size=0.01),
    }  # fmt: skip


def apgd_peers(loss, long):
    own = {"eps": 0.1, "eps_step": 0.2, "max_iter": 20, "nb_random_init": 1, "loss_type": long}
    return {
        "torchattacks": use("APGD", norm="Linf", eps=0.1, steps=20, loss=loss),
        "art": use("AutoProjectedGradientDescent", **own),
        "adv_lib": use("apgd", eps=0.1, norm=INF, n_iter=20, loss_function=loss),
        "autoattack": use(f"apgd-{loss}", apgd__n_iter=20, apgd__n_restarts=1),
    }  # fmt: skip


UNIVERSAL = {"art": use("UniversalPerturbation", attacker="deepfool", eps=0.1, norm=INF, delta=0.2, max_iter=10)}
CONTESTS = (
    Contest("FGSM", "fgsm", BALL, (500, 2000), {}, {
        "foolbox": use("FGSM", eps=0.1),
        "torchattacks": use("FGSM", eps=0.1),
        "art": use("FastGradientMethod", eps=0.1),
    }),
    Contest("BIM-10", "bim", BALL, (250, 1000), {"steps": 10}, {
        "foolbox": use("LinfBasicIterativeAttack", eps=0.1, steps=10, abs_stepsize=0.01),
        "torchattacks": use("BIM", eps=0.1, alpha=0.01, steps=10),
        "art": use("BasicIterativeMethod", eps=0.1, eps_step=0.01, max_iter=10),
    }),
    Contest("PGD-40, stop on success", "pgd", BALL, (250, 1000), {"steps": 40, "alpha": 0.01}, pgd_peers()),
    Contest("PGD-40, all steps", "pgd", BALL, (250, 1000), {"steps": 40, "alpha": 0.01, "stop": "never"}, pgd_peers()),
    Contest("APGD-CE, 20", "apgd", BALL, (250, 1000), {"steps": 20, "loss": "ce"}, apgd_peers("ce", "cross_entropy")),
    Contest("APGD-DLR, 20", "apgd", BALL, (250, 1000), {"steps": 20, "loss": "dlr"},
            apgd_peers("dlr", "difference_logits_ratio")),
    Contest("CW l2, 3 x 100", "cw", L2, (50, 250), {"steps": 100, "search_steps": 3, "initial_c": 1.0}, {
        "foolbox": use("L2CarliniWagnerAttack", steps=100, binary_search_steps=3, stepsize=0.01, initial_const=1.0),
        "torchattacks": use("CW", c=1, steps=300, lr=0.01),
        "art": use("CarliniL2Method", max_iter=100, binary_search_steps=3, initial_const=1.0),
        "adv_lib": use("carlini_wagner_l2", max_iterations=100, binary_search_steps=3, initial_const=1.0),
    }),
    Contest("DeepFool l2", "deepfool", L2, (50, 250), {}, {
        "foolbox": use("L2DeepFoolAttack"),
        "torchattacks": use("DeepFool", steps=50),
        "art": use("DeepFool", max_iter=50, epsilon=0.02),
        "adv_lib": use("df", norm=2, steps=50),
    }),
    Contest("DeepFool linf", "deepfool", LINF, (50, 250), {}, {
        "foolbox": use("LinfDeepFoolAttack"),
        "adv_lib": use("df", norm=INF, steps=50),
    }),
    Contest("SuperDeepFool", "superdeepfool", L2, (50, 250), {}, {
        "adv_lib": use("sdf"),
    }),
    Contest("FAB linf, 20", "fab", LINF, (50, 250), {"steps": 20}, {
        "torchattacks": use("FAB", norm="Linf", eps=1.0, steps=20),
        "adv_lib": use("fab", norm=INF, n_iter=20),
        "autoattack": use("fab", eps=1.0, fab__n_iter=20, fab__n_restarts=1),
    }),
    Contest("FAB l2, 20", "fab", L2, (50, 250), {"steps": 20}, {
        "torchattacks": use("FAB", norm="L2", eps=100.0, steps=20),
        "adv_lib": use("fab", norm=2, n_iter=20),
        "autoattack": use("fab", norm="L2", eps=100.0, fab__n_iter=20, fab__n_restarts=1),
    }),
    Contest("SparseFool", "sparsefool", L0, (10, 50), {}, {
        "torchattacks": use("SparseFool", steps=20),
    }),
    Contest("One pixel, 400 x 100", "one_pixel", L0, (2, 5), {}, {
        "torchattacks": use("OnePixel", pixels=1, steps=100, popsize=400, inf_batch=400),
        "art": use("PixelAttack", th=1, es=0, max_iter=100),
    }, slow=True),
    Contest("Universal linf, DeepFool", "universal", BALL, (200, 200), {"method": "deepfool", "delta": 0.2},
            UNIVERSAL, slow=True),
    Contest("Universal linf, gradient", "universal", BALL, (200, 200), {"delta": 0.2}, UNIVERSAL, slow=True),
    Contest("Boundary, 5,000 steps", "boundary", L2, (10, 30), {"steps": 5000}, {
        "foolbox": use("BoundaryAttack", steps=5000),
    }, slow=True),
    Contest("Square linf, 1,000 queries", "square", BALL, (100, 250), {"queries": 1000}, {
        "torchattacks": use("Square", norm="Linf", eps=0.1, n_queries=1000),
        "art": use("SquareAttack", eps=0.1, norm=INF, max_iter=1000),
        "autoattack": use("square", square__n_queries=1000),
    }),
)  # fmt: skip
