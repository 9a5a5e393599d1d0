"""Components of every kind whose declaration is not what Python sees, or says too little."""

from broken.mark import breaks
from tasks.registry import component

Count = float
"""Not the type of that name that a component's source is taken to mean."""


@breaks("read_as_declared")
@component("dataset", version=1)
def dataset_of_another_type(split, root, *, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("architecture", version=1)
def architecture_of_another_type(shape, activation, *, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("activation", version=1)
def activation_of_another_type(*, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("activation", version=1)
def activation_with_an_argument(net):
    """It wants an argument that nobody gives it."""


@breaks("read_as_declared")
@component("head", version=1)
def head_of_another_type(width, num_classes, *, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("head", version=1)
def head_without_classes(width):
    """It does not take the number of classes."""


@breaks("read_as_declared")
@component("defense", version=1)
def defense_of_another_type(*, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("training", version=1)
def training_of_another_type(model, train, test, defense, seed, on_epoch=None, state=None, *, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("training", version=1)
def training_without_state(model, train, test, defense, seed):
    """It takes no state to go on from."""


@breaks("read_as_declared")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def attack_of_another_type(model, images, labels, budget, streams, *, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def attack_without_streams(model, images, labels, budget):
    """It does not take the streams to draw from."""


@breaks("read_as_declared")
@component("probe", version=1)
def probe_of_another_type(model, images, labels, streams, *, times: Count = 2):
    """It calls another type `Count` than the one that its source is read with."""


@breaks("read_as_declared")
@component("probe", version=1)
def probe_with_a_source(model, images, labels, streams, source):
    """It takes a source without declaring it."""


@breaks("says_what_it_is")
@component("dataset", version=1)
def dataset_in_brief(split, root):
    """images"""


@breaks("says_what_it_is")
@component("architecture", version=1)
def architecture_in_brief(shape, activation):
    """body"""


@breaks("says_what_it_is")
@component("activation", version=1)
def activation_in_brief():
    pass


@breaks("says_what_it_is")
@component("head", version=1)
def head_in_brief(width, num_classes):
    """head"""


@breaks("says_what_it_is")
@component("defense", version=1, paper="Goodfellow et al. 2014")
def defense_with_a_paper_that_is_no_link():
    """It names a paper, and gives no link to it."""


@breaks("says_what_it_is")
@component("training", version=1)
def training_in_brief(model, train, test, defense, seed, on_epoch=None, state=None):
    """training"""


@breaks("says_what_it_is")
@component(
    "attack", version=1, paper="https://arxiv.org/abs/1412.6572", norms=("linf",), budget="eps", knowledge="none"
)
def attack_without_its_paper(model, images, labels, budget, streams):
    """It declares a paper that its docstring does not name."""


@breaks("says_what_it_is")
@component("probe", version=1)
def probe_in_brief(model, images, labels, streams):
    """probe"""
