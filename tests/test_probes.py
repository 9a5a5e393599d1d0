"""The contract of every probe in the folder."""

import inspect

import pytest
import torch
from attack_toys import pixels, seeded
from probe_toys import Deep, Wobbly, assert_same, deep_net, measured

from tasks import registry

ALL = registry.names("probe")
OPTIONS = {
    "activation_regimes": {"layers": None},
    "certified_radius": {"sigma": 0.1, "n0": 5, "n": 20},
    "perturbation_growth": {"steps": 3},
    "sensitivity_map": {"store_map": True},
    "zero_gradient_distance": {"steps": 3},
}


def found_by(name, model, images, *given, **options):
    return measured(name, model, images, *given, **OPTIONS.get(name, {}), **options)


@pytest.mark.parametrize("name", ALL)
def test_what_is_read_from_the_source_is_what_python_sees(name):
    described, loaded = registry.describe("probe", name), registry.load("probe", name)
    given = list(inspect.signature(loaded).parameters.values())
    keyword = {parameter.name: parameter for parameter in given if parameter.kind is parameter.KEYWORD_ONLY}
    assert [parameter.name for parameter in given[:4]] == ["model", "images", "labels", "streams"]
    sourced = ["source"] if described.facts.sourced else []
    assert [parameter.name for parameter in given[4 : -len(keyword) or None]] == sourced
    assert {key: (value.default, value.type) for key, value in described.parameters.items()} == {
        key: (value.default, value.annotation) for key, value in keyword.items()
    }
    assert described.version >= 1
    assert described.paper.startswith("https://") or not described.paper
    assert described.summary.endswith(".")


@pytest.mark.parametrize("name", ALL)
def test_every_image_has_a_finite_number_or_none_for_each_measure(name):
    images = pixels(5)
    found = found_by(name, deep_net(), images)
    assert found
    for values in found.values():
        assert values.shape[0] == 5
        assert values.dim() <= 2
        assert values.dtype == torch.bool or values.is_floating_point()
        assert not values.requires_grad
        assert not bool(values.isinf().any())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", [Deep, Wobbly])
def test_neither_batch_nor_order_nor_chunk_changes_a_row(name, kind):
    images, model = pixels(20), deep_net(kind=kind)
    labels = torch.arange(20) % 4
    whole = found_by(name, model, images, labels)
    for size in (1, 7):
        assert_same(found_by(name, model, images, labels, batch_size=size), whole)
    assert_same(found_by(name, model, images, labels, fixed_batch=6), whole)
    order = torch.randperm(20, generator=seeded(3))
    shuffled = found_by(name, model, images[order], labels[order], samples=order + 100)
    assert_same({key: values[order.argsort()] for key, values in shuffled.items()}, whole)


@pytest.mark.parametrize("name", ALL)
def test_a_probe_repeats_itself_and_leaves_model_and_images_as_they_were(name):
    images, labels, model = pixels(6), torch.arange(6) % 4, deep_net()
    before = images.clone(), labels.clone()
    assert_same(found_by(name, model, images, labels), found_by(name, model, images, labels))
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert_untouched(model)


class Cracked(Deep):
    """Raises at the end of a pass."""

    whole = True

    def forward(self, images):
        scores = super().forward(images)
        if not self.whole:
            raise RuntimeError("cracked")
        return scores


@pytest.mark.parametrize("name", ALL)
def test_no_hook_is_left_where_the_model_raises(name):
    model = deep_net(kind=Cracked)
    modules = list(model.modules())
    labels = model(pixels(3)).argmax(1)
    model.whole = False
    with pytest.raises(RuntimeError, match="cracked"):
        found_by(name, model, pixels(3), labels, num_classes=4)
    assert list(model.modules()) == modules
    assert_untouched(model)


def assert_untouched(model):
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    for module in model.modules():
        assert module.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("num_classes", [2, 100])
def test_two_classes_and_a_hundred_work_on_images_of_any_shape(name, num_classes):
    shape = (3, 5, 8)
    found = found_by(name, deep_net(num_classes, shape), pixels(3, shape), torch.tensor([0, 1, 1]))
    assert all(len(values) == 3 for values in found.values())


@pytest.mark.parametrize("name", ALL)
def test_no_samples_give_the_same_measures_of_no_rows(name):
    model, labels = deep_net(), torch.zeros(0, dtype=torch.int64)
    none, some = found_by(name, model, pixels(0), labels, num_classes=4), found_by(name, model, pixels(2))
    assert [(key, values.shape) for key, values in none.items()] == [
        (key, (0, *values.shape[1:])) for key, values in some.items()
    ]
