"""What cannot go together is found before anything runs, from what components say; and what is not found does run."""

import random
import subprocess
import sys
import warnings

import agreement
import pytest
import torch
import yaml
from grids import write_spec
from torch import nn

from grid.errors import SpecError
from grid.spec import read
from grid.spec.read import load_spec
from tasks import registry
from tasks.architectures import _torchvision
from tasks.architectures._every import extended
from tasks.architectures._fitting import _WITH_WEIGHTS
from tasks.config import Component
from tasks.model import make
from tasks.probes.activation_regimes import _WITHOUT
from tasks.refusals import Part, depends_on, reasons, refuse, widths
from tasks.slices import function_from
from tasks.types import TaskError

TEN = """
name: late
samples: {count: 10}
cells:
  - dataset: digits
    architecture: [cnn_2conv, {wide_resnet: {depth: 11}}, {mlp: {hidden: [7]}}]
    activation: [{lwta: {units: 1}}, {lwta: {units: 2}}]
    defense: {combined: [label_smoothing, {trades: {eps: 0.1}}]}
    training: {schedule: plateau, epochs: 1, momentum: 0.9}
attacks:
  - one_pixel: {population: 2}
  - average_sample: {eps: 0.1, chunk: 5}
  - pgd: {eps: 0.1, targets: 77}
  - art: {attack: NoSuchAttack}
"""
FOUR = """
name: later
samples: {count: 10}
cells:
  - dataset: digits
    architecture: {mlp: {hidden: [8]}}
    training: {epochs: 1}
attacks:
  - one_pixel: {population: 2}
  - average_sample: {eps: 0.1, chunk: 5}
  - pgd: {eps: 0.1, targets: 77}
  - art: {attack: NoSuchAttack}
"""
MLP = {"mlp": {"hidden": [8]}}
ASKED = ["one_pixel draws", "average_sample: a chunk", "aims at class 77, but there are 10", "no attack 'NoSuchAttack'"]


def problems(tmp_path, spec):
    """(line, key, message) of each problem of a spec, given as its text or its tree."""
    path = tmp_path / "spec.yaml"
    path.write_text(spec if isinstance(spec, str) else yaml.safe_dump(spec, sort_keys=False))
    try:
        load_spec(path)
    except SpecError as error:
        return [(found.line, found.key, found.message) for found in error.problems]
    return []


def grid(*attacks, exclude=None, probes=(), **cell):
    """A spec of one block on digits."""
    cell = {"dataset": "digits", "architecture": MLP, **cell}
    rest = {"attacks": list(attacks), "probes": list(probes), "exclude": exclude}
    return {
        "name": "grid",
        "samples": {"count": 5},
        "cells": [cell],
        **{key: each for key, each in rest.items() if each},
    }


def messages(tmp_path, *attacks, **rest):
    return [message for _, _, message in problems(tmp_path, grid(*attacks, **rest))]


@pytest.mark.parametrize(
    ("text", "lines"), [(TEN, [6, 6, 7, 7, 8, 9, 11, 12, 13, 14]), (FOUR, [9, 10, 11, 12])], ids=["ten", "four"]
)
def test_each_contradiction_of_a_spec_is_a_problem_of_its_own(tmp_path, text, lines):
    found = problems(tmp_path, text)
    assert [line for line, _, _ in found] == lines
    assert len({key for _, key, _ in found}) == len(lines)
    for (_, _, message), part in zip(found[-4:], ASKED, strict=True):
        assert part in message


def test_all_that_is_said_of_one_place_is_one_line(tmp_path):
    [(_, key, message)] = problems(tmp_path, grid(training={"schedule": "plateau", "momentum": 0.9}))
    assert key == "cells.0.training"
    assert "momentum and nesterov are for the optimizer sgd; " in message
    assert message.endswith("the schedule plateau needs a validation share above 0")


def test_what_a_rule_excludes_is_no_problem(tmp_path):
    two = {"architecture": [MLP, "cnn_2conv"]}
    assert len(messages(tmp_path, **two)) == 1
    assert messages(tmp_path, exclude=[{"architecture": "cnn_2conv"}], **two) == []
    small = {"one_pixel": {"population": 2}}
    assert messages(tmp_path, small, "deepfool", exclude=[{"attack": "one_pixel"}]) == []
    assert len(messages(tmp_path, small, "deepfool", exclude=[{"attack": "one_pixel", "architecture": "mlp"}])) == 0
    assert len(messages(tmp_path, small, "deepfool", exclude=[{"attack": "deepfool"}])) == 1


def test_of_several_datasets_the_one_that_does_not_fit_is_named(tmp_path):
    [message] = messages(tmp_path, dataset=["digits", "mnist"], architecture="cnn_2conv")
    assert message == "cnn_2conv takes images of shape (1, 28, 28), not (1, 8, 8) (dataset digits)"
    [message] = messages(tmp_path, {"pgd": {"eps": 0.1, "targets": 7}}, dataset=["mnist", "mnist_3_7"])
    assert message == "pgd aims at class 7, but there are 2 classes (dataset mnist_3_7)"
    [message] = messages(tmp_path, dataset=["mnist", "fashion_mnist", "cifar10"], architecture="cnn_4conv")
    assert message == "cnn_4conv takes images of shape (1, 28, 28), not (3, 32, 32) (dataset cifar10)"


def test_a_part_of_which_all_are_concerned_is_not_named(tmp_path):
    pair = {"architecture": [{"mlp": {"hidden": [7]}}, {"cnn_small": {"channels": [7], "dense": []}}]}
    [message] = messages(tmp_path, dataset=["digits", "mnist"], activation="lwta", **pair)
    assert message.endswith("each layer that has this activation")


def test_an_extra_convolution_is_what_the_body_is_given(tmp_path):
    assert messages(tmp_path, dataset="cifar10", architecture={"cnn_2conv": {"extra_conv": 1}}) != []
    resnet = {"resnet50": {"extra_conv": 3}}
    assert messages(tmp_path, dataset="mnist", architecture=resnet) == []
    assert "of 3 channels" in messages(tmp_path, dataset="mnist", architecture="resnet50")[0]


def test_members_of_a_cascade_and_sources_are_asked(tmp_path):
    cascade = {"cascade": True, "name": "two", "attacks": ["deepfool", {"one_pixel": {"population": 1}}]}
    [(_, key, message)] = problems(tmp_path, grid(cascade))
    assert (key, message) == ("attacks.0", "one_pixel draws three different members of a population of 1")
    source = {"fgsm": {"eps": 0.1, "source": {"architecture": ["cnn_2conv", "mlp"]}}}
    [message] = messages(tmp_path, source)
    assert message == "its source cannot be: cnn_2conv takes images of shape (1, 28, 28), not (1, 8, 8)"
    aims = {"cascade": True, "targets": 10, "eps": 0.1, "attacks": ["pgd", "fgsm"]}
    assert messages(tmp_path, aims) == ["cascade aims at class 10, but there are 10 classes"]


def test_the_source_of_an_attack_is_what_it_is_fitted_to(tmp_path):
    fitted = {"universal": {"eps": 0.1, "fit_samples": 2000}}
    assert messages(tmp_path, fitted) == ["fit_samples is 2000, but the train split has 1200"]
    of_mnist = messages(tmp_path, {"universal": {**fitted["universal"], "source": {"dataset": "mnist"}}})
    assert of_mnist == ["its source cannot be: mnist has images of shape (1, 28, 28), and digits (1, 8, 8)"]


def test_what_a_spec_leaves_out_is_asked_as_well(tmp_path):
    [message] = messages(tmp_path, probes=["certified_radius"])
    assert message == "certified_radius: the model has 0 smoothing layers, so sigma must be given"
    assert messages(tmp_path, probes=["certified_radius"], defense="randomised_smoothing") == []
    assert messages(tmp_path, training={"natural_epochs": 1}, defense="distillation") != []


def test_a_component_of_another_package_is_not_run_by_check(tmp_path, monkeypatch):
    (tmp_path / "apart.py").write_text(
        "from tasks.registry import component\n"
        "@component('architecture', version=1)\ndef apart(shape, activation):\n    '''No more.'''\n"
        "def refuses():\n    raise AssertionError\n"
        "def widths():\n    raise AssertionError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert messages(tmp_path, architecture="apart:apart", activation={"lwta": {"units": 3, "layers": [9]}}) == []
    assert "apart" not in sys.modules


def test_what_is_not_known_is_not_asked():
    lwta = Component("activation", "lwta", 1, {"units": 3, "layers": [9]})
    body = Component("architecture", "mlp", 1, {"hidden": [8]})
    unsized = Component("dataset", "imagefolder", 1, {"folder": "a", "generated": None, "share": 0.0})
    assert depends_on(lwta) == ("dataset", "architecture")
    assert reasons(lwta, {}) == []
    assert reasons(lwta, {"dataset": unsized, "architecture": body}) == []
    digits = Component("dataset", "digits", 1)
    assert reasons(lwta, {"dataset": digits, "architecture": body}) != []
    assert widths(body, None) is None
    assert widths(Component("architecture", "agreement:nowhere", 1), (1, 8, 8)) is None


def test_all_reasons_are_raised_at_once():
    refuse(TaskError, [])
    with pytest.raises(TaskError, match=r"^one; two$"):
        refuse(TaskError, iter(["one", "two"]))


AROUND = [{}, {"extra_dense": 7}, {"extra_conv": 1, "extra_dense": 2}]
SMALL = [
    *(("mlp", (1, 8, 8), {"hidden": hidden}) for hidden in ([], [5], [6, 3])),
    *(("cnn_small", (3, 32, 32), {"channels": channels, "dense": [5]}) for channels in ([], [4, 6])),
    *(("resnet_small", (1, 8, 8), {"blocks": blocks, "width": 5}) for blocks in (1, 3)),
    *(("wide_resnet", (1, 8, 8), {"depth": depth, "widen": widen}) for depth, widen in ((10, 1), (22, 3))),
    *((name, (1, 28, 28), {}) for name in ("cnn_2conv", "cnn_4conv")),
]
BODIES = [
    *((name, shape, {**given, **around}) for name, shape, given in SMALL for around in AROUND),
    *((name, (3, 96, 96), {"stem": "cifar"}) for name in sorted(agreement.LARGE)),
    *((name, (3, 96, 96), {"stem": "imagenet"}) for name in ("inception_v3", "mobilenet_v2")),
]


class Seen(nn.Module):
    """An activation that notes the width of what it is given."""

    def __init__(self, met: list[int]) -> None:
        super().__init__()
        self.met = met

    def forward(self, net):
        self.met.append(net.shape[1])
        return net


def test_every_architecture_says_its_widths():
    assert {name for name, _, _ in BODIES} == set(registry.built_in("architecture"))


@pytest.mark.parametrize(("name", "shape", "given"), BODIES)
def test_the_widths_of_an_architecture_are_those_of_what_it_builds(name, shape, given):
    parameters = registry.describe("architecture", name).parameters
    component = Component("architecture", name, 1, {key: each.default for key, each in parameters.items()} | given)
    around = {key: component.parameters[key] for key in ("extra_dense", "extra_conv")}
    own = {key: value for key, value in component.parameters.items() if key not in around}
    met: list[int] = []

    def activation() -> Seen:
        return Seen(met)

    with torch.device("meta"):
        make_body = registry.load("architecture", name)
        body = extended(lambda inner: make_body(inner, activation, **own), shape, activation, **around)
        body.eval()(torch.rand(1, *shape))
    assert list(widths(component, shape)) == met


NORMALISED = {
    "resnet_small": [(1, 4, 4), (1, 5, 4), (1, 8, 8)],
    "wide_resnet": [(1, 4, 4), (1, 4, 5)],
    "resnet50": [(3, 16, 16), (3, 16, 17), (3, 32, 32), (3, 33, 32)],
    "densenet169": [(3, 16, 16), (3, 31, 31), (3, 32, 32), (3, 64, 64)],
    "mobilenet_v2": [(3, 8, 8), (3, 9, 8), (3, 32, 32), (3, 32, 33)],
    "inception_v3": [(3, 16, 16), (3, 75, 75), (3, 107, 75), (3, 106, 75), (3, 90, 90)],
}


@pytest.mark.parametrize("stem", [None, "cifar", "imagenet"])
@pytest.mark.parametrize("name", NORMALISED)
def test_a_batch_of_one_image_is_refused_where_a_normalisation_sees_one_pixel(name, stem):
    if (stem is None) != (name not in agreement.LARGE):
        return
    given = {"stem": stem} if stem else {"depth": 10} if name == "wide_resnet" else {}
    with torch.device("meta"):
        body = registry.load("architecture", name)((3, 96, 96) if stem else (1, 8, 8), nn.Tanh, **given).train()
    for shape in NORMALISED[name]:
        said = alone(name, shape, given)
        if any("takes images" in text for text in said):
            continue
        raised = ""
        try:
            with torch.device("meta"):
                body(torch.rand(1, *shape))
        except ValueError as error:
            raised = str(error)
        assert len(said) == ("more than 1 value per channel" in raised), shape


def alone(name, shape, given, **training):
    """What an architecture says of images of a shape, and of a training with batches of one."""
    function = function_from(f"tasks.architectures.{name}", "refuses")
    parameters = {"batch_size": 1, "samples": None, "validation": 0.0, **training}
    return list(function(**given, shape=shape, training=Part("standard", parameters, None), train_samples=10))


@pytest.mark.parametrize(
    ("training", "is_alone"),
    [
        ({}, True),
        ({"batch_size": 3}, False),
        ({"batch_size": 4, "samples": 5}, False),
        ({"batch_size": 128, "samples": 1}, True),
        ({"batch_size": 128, "samples": 129}, False),
    ],
)
def test_only_an_image_that_can_join_no_other_batch_is_refused(training, is_alone):
    assert bool(alone("resnet_small", (1, 4, 4), {}, **training)) == is_alone


VARIANTS = {
    "pgd_training": [{"clean": 0.5}, {"clean": 1.0}],
    "fgsm_training": [{"clean": 0.5}, {"clean": 1.0}],
    "trades": [{"beta": 0.0}],
    "distillation": [{"teacher": True}],
}


@pytest.mark.parametrize("name", sorted(set(registry.built_in("defense")) - {"combined"}))
def test_a_defense_declares_whether_it_has_a_loss_of_its_own(name):
    described = registry.describe("defense", name)
    usual = {key: 0.1 if key == "eps" else each.default for key, each in described.parameters.items()}
    for given in ({}, *VARIANTS.get(name, [])):
        component = Component("defense", name, 1, {**usual, **given})
        made = make(component)
        taught = made.taught(nn.Identity()) if made.taught else made
        assert described.facts.has_loss(component.parameters) == (taught.loss is not None)
        assert described.facts.has_base(component.parameters) == (made.taught is not None)


@pytest.mark.parametrize("name", registry.built_in("activation"))
def test_what_is_said_of_activations_elsewhere_is_so(name):
    made = registry.load("activation", name)()
    assert hasattr(made, "regimes") == (name not in _WITHOUT)
    assert bool(list(made.parameters())) == (name in _WITH_WEIGHTS)


def test_pretrained_weights_do_not_go_with_an_activation_that_has_weights(tmp_path):
    body = {"resnet50": {"stem": "imagenet", "pretrained": True}}
    assert messages(tmp_path, dataset="cifar10", architecture=body) == []
    [message] = messages(tmp_path, dataset="cifar10", architecture=body, activation=["relu", "drelu"])
    assert message == "pretrained: the weights have none for the activation drelu (activation drelu)"

    class Fake:
        def get_state_dict(self, **_):
            return {}

    with pytest.raises(ValueError, match="uninitialized parameter"):
        _torchvision.load_imagenet(nn.Sequential(registry.load("activation", "drelu")()), Fake(), "imagenet")


def test_components_are_asked_without_torch():
    """Also every function that no spec of these tests comes to."""
    code = (
        "import sys\n"
        "from tasks import registry\n"
        "from tasks.refusals import _refusers\n"
        "from tasks.slices import function_from\n"
        "count = sum(len(_refusers(kind, name, foreign=False))"
        " for kind in registry.FOLDERS for name in registry.built_in(kind))\n"
        "for name in registry.built_in('architecture'):\n"
        "    assert function_from(f'tasks.architectures.{name}', 'widths')\n"
        "assert count > 30, count\n"
        "assert not {'torch', 'pyarrow'} & set(sys.modules), 'heavy'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_part_knows_itself_and_its_parts():
    inner = Part("natural", {}, None)
    assert Part("combined", {}, None, (inner,)).all[1:] == (inner,)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seeds", [range(50), pytest.param(range(50, 200), marks=pytest.mark.drill)], ids=str)
def test_what_check_accepts_runs_and_what_it_refuses_fails(seeds, tmp_path):
    """Random cells and attacks of built-in components; what only the weights decide is drawn so that it is tame."""
    wrong, counts = [], {"accepted": 0, "refused": 0}
    for seed in seeds:
        spec = agreement.spec(random.Random(seed))
        said = agreement.problems(tmp_path, spec)
        counts["refused" if said else "accepted"] += 1
        try:
            with warnings.catch_warnings():
                agreement.run(spec)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong
            if not said:
                wrong.append(f"{seed}: accepted, and failed: {error!r}")
        else:
            if said:
                wrong.append(f"{seed}: refused, and ran: {said}")
    assert wrong == []
    assert min(counts.values()) > 10


def test_what_is_excluded_stays_so_where_another_rule_is_dropped(tmp_path):
    spec = write_spec(
        tmp_path, seeds=[0, 1],
        exclude=[{"dataset": "digits", "architecture": "vgg16"}, {"seed": 1, "head": "softrmax"}],
        cells=[{"dataset": ["digits", "cifar10"], "architecture": ["vgg16", {"mlp": {"hidden": [8]}}],
                "head": ["softmax", "softrmax"], "training": {"epochs": 1}}],
    )  # fmt: skip
    assert load_spec(spec, overrides=["seeds=[0]"]).exclude


def test_a_grid_that_is_too_large_is_not_asked_about_its_contradictions(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "MAX_CASES", 3)
    monkeypatch.setattr(read, "report_contradictions", lambda *given: pytest.fail("asked"))
    with pytest.raises(SpecError, match="at most 3 are planned at once"):
        load_spec(write_spec(tmp_path))


def test_each_source_is_refused_where_it_stands(tmp_path):
    sources = [{"architecture": "vgg16"}, {}, {"training": {"schedule": "plateau"}}]
    attacks = [{"fgsm": {"eps": 0.1, **({"source": source} if source else {})}} for source in sources]
    with pytest.raises(SpecError) as error:
        load_spec(write_spec(tmp_path, attacks=attacks))
    assert [problem.key for problem in error.value.problems] == ["attacks.0", "attacks.2"]
