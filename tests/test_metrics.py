"""Distances, margins and projections in closed form, and a model whose passes are counted sample by sample."""

import math

import pytest
import torch
from attack_toys import Toy, conv_net, linear, pixels
from torch import nn

from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import clip, distances, frozen, length_of, margins, project, radius, rounding, slack
from tasks.passes import scores_of
from tasks.types import AttackError, ModelError

LINF, L2 = Budget("linf", 0.1), Budget("l2", 0.5)
UNIT = torch.tensor(0.0), torch.tensor(1.0)


def counted(model, count, budget=LINF, num_classes=3, **options):
    return CountedModel(model, torch.arange(count) + 100, budget, num_classes=num_classes, **options)


def test_distances_are_those_of_a_hand_made_pair():
    clean = torch.zeros(1, 2, 1, 3)
    clean[0, 0, 0, 2] = 2.0
    other = clean.clone()
    other[0, 0, 0, 0], other[0, 1, 0, 0], other[0, 0, 0, 2] = 3.0, -1.0, 4.0
    measured = {name: float(value) for name, value in distances(other, clean).items()}
    due = {
        "l0": 2,
        "l0_values": 3,
        "l1": 6,
        "l2": math.sqrt(14),
        "linf": 3,
        "mse": 14 / 6,
        "relative_l2": math.sqrt(14) / 2,
    }
    due |= {"relative_linf": 1.5, "centred_l2": math.sqrt(14) / 2, "centred_linf": 1.5}
    assert measured == pytest.approx(due, rel=1e-6)


def test_centred_distances_are_relative_to_the_image_minus_the_mean():
    clean = torch.full((1, 2, 1, 2), 0.5)
    mean = torch.tensor([0.25, 0.5]).view(1, 2, 1, 1)
    found = distances(clean + 0.1, clean, mean)
    assert float(found["centred_l2"]) == pytest.approx(0.2 / math.sqrt(2 * 0.25**2), rel=1e-5)
    assert float(found["centred_linf"]) == pytest.approx(0.1 / 0.25, rel=1e-5)


def test_distances_are_summed_in_double_precision():
    clean = torch.zeros(1, 1, 400, 400)
    assert float(distances(clean + 0.1, clean)["l1"]) == pytest.approx(160000 * float(torch.tensor(0.1)), rel=1e-7)


def test_a_margin_is_the_label_against_the_best_other_score():
    scores = torch.tensor([[1.0, 4.0, 3.0], [1.0, 4.0, 3.0]])
    assert margins(scores, torch.tensor([1, 2])).tolist() == [1.0, -1.0]


def test_a_margin_within_rounding_does_not_count_as_fooled():
    scores = torch.tensor([[10.0, 10.000001], [10.0, 10.001], [10.0, 9.0]])
    model, labels = counted(linear(), 3), torch.zeros(3, dtype=torch.int64)
    assert model.fooled(scores, labels).tolist() == [False, True, False]


@pytest.mark.parametrize("budget", [LINF, L2])
def test_projection_ends_in_ball_and_box_and_leaves_what_is_inside(budget):
    clean = pixels(20)
    far = clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    projected = project(far, clean, budget, UNIT)
    assert projected.min() >= 0
    assert projected.max() <= 1
    assert distances(projected, clean)[budget.norm].max() <= budget.eps + 1e-6
    near = clean + (projected - clean) / 2
    assert torch.allclose(project(near, clean, budget, UNIT), near)
    assert torch.equal(project(clean, clean, budget, UNIT), clean)


def test_the_l2_projection_keeps_the_direction():
    clean = torch.full((1, 1, 2, 2), 0.5)
    delta = torch.tensor([3.0, 4.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert torch.allclose(project(clean + delta, clean, L2, UNIT) - clean, delta / 10)


def test_clipping_keeps_to_a_box_of_its_own_for_each_channel_in_place_if_asked():
    images = torch.linspace(-1, 2, 12).view(1, 2, 2, 3)
    box = torch.tensor([0.0, 0.5]).view(1, 2, 1, 1), torch.tensor([1.0, 0.75]).view(1, 2, 1, 1)
    clipped = clip(images, box)
    assert torch.equal(clipped, images.clamp(*box))
    assert clip(images, box, out=images) is images
    assert torch.equal(images, clipped)


def test_a_length_is_never_0_and_not_lost_to_the_squares_of_small_numbers():
    delta = torch.tensor([[3.0, -4.0], [3e-30, -4e-30], [0.0, 0.0]])
    tiny = torch.finfo(torch.float32).tiny
    assert length_of(delta).tolist() == pytest.approx([5.0, 5e-30, tiny], rel=1e-6)
    assert length_of(delta, "linf").tolist() == pytest.approx([4.0, 4e-30, tiny], rel=1e-6)


def test_rounding_is_sixteen_units_in_the_last_place_of_the_largest_score():
    scores = torch.tensor([[1.0, -4.0], [0.5, -0.25]], requires_grad=True)
    assert rounding(torch.tensor([1.0])).tolist() == [2.0**-19]
    assert slack(scores).tolist() == [2.0**-17, 2.0**-20]
    assert slack(scores.double()).tolist() == [2.0**-46, 2.0**-49]


def test_of_what_all_scores_share_four_units_in_the_last_place_are_rounding():
    scores = torch.tensor([[1.0, -4.0], [0.5, -0.25]]).double()
    unit = torch.finfo(torch.float64).eps
    for shift in (2.0**20, -(2.0**20)):
        due = [16 * spread + 4 * 2.0**20 for spread in (5.0, 0.75)]
        assert (slack(scores + shift) / unit).tolist() == pytest.approx(due, rel=1e-5)


def test_a_norm_without_projection_and_a_budget_without_eps_are_refused():
    with pytest.raises(ValueError, match="l1"):
        project(pixels(1), pixels(1), Budget("l1", 1.0), UNIT)
    with pytest.raises(ValueError, match="eps"):
        radius(Budget("l2", None))


def test_passes_are_counted_for_the_rows_that_made_them():
    model = counted(linear(), 3)
    images = pixels(3)
    with frozen(model._module):
        model(images)
        model.at(torch.tensor([0, 0]))(images[[0, 0]])
        model.at(torch.tensor([2, 0, 1])).at(torch.tensor([0]))(images[2:])
        model.at(torch.tensor([0, 1])).ascent(images[:2], torch.zeros(2, dtype=torch.int64))
    assert model.forwards.tolist() == [4, 2, 2]
    assert model.backwards.tolist() == [1, 1, 0]


def test_each_backward_through_one_graph_counts():
    model = counted(linear(), 2)
    with frozen(model._module):
        images = pixels(2).requires_grad_()
        scores = model(images)
        for column in range(3):
            torch.autograd.grad(scores[:, column].sum(), images, retain_graph=True)
    assert (model.forwards.tolist(), model.backwards.tolist()) == ([1, 1], [3, 3])


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(AttackError, match="2 images for a model of 3 rows"):
        counted(linear(), 3)(pixels(2))


class Breaks(Toy):
    def forward(self, images):
        scores = super().forward(images)
        return torch.where(images[:, 0, 0, :1] > 0.5, torch.inf, scores)


def test_scores_that_are_not_finite_name_the_samples():
    model = Breaks(linear().body).double()
    images = pixels(3)
    images[:, 0, 0, 0] = torch.tensor([0.1, 0.9, 0.2])
    looked_at = counted(model, 3)
    looked_at(images)
    with pytest.raises(ModelError, match="1 samples, first: 101"):
        looked_at.check()


def test_scores_that_are_not_finite_end_an_attack_that_does_not_ask():
    model, images = counted(Breaks(linear().body).double(), 3), torch.ones(3, 1, 6, 6, dtype=torch.float64)

    def look(times):
        for _ in range(times):
            model(images)

    with pytest.raises(ModelError, match="3 samples"):
        look(times=100)


def test_scores_of_a_wrong_shape_are_refused():
    with pytest.raises(ModelError, match="batch, classes"):
        scores_of(nn.Flatten(0), pixels(2), None)


def test_a_model_that_is_no_classifier_is_refused_by_what_it_lacks():
    with pytest.raises(ModelError, match="log_probabilities"):
        counted(nn.Flatten(), 1)


def test_in_standardised_units_the_model_sees_the_same_pixels():
    module = conv_net()
    pixel, standard = (counted(module, 5, Budget("linf", 0.1, space)) for space in ("pixel", "standardised"))
    images = pixels(5)
    assert torch.allclose(pixel(images), standard(standard.inputs(images)))
    low, high = standard.box
    assert float(low) == pytest.approx(-0.75)
    assert float(high) == pytest.approx(1.75)


def test_pixels_are_exactly_in_the_box_and_their_gradients_do_not_stop_there():
    module = conv_net(torch.float32)
    model = counted(module, 2, Budget("linf", 0.1, "standardised"))
    ends = torch.stack([torch.zeros(1, 6, 6), torch.ones(1, 6, 6)])
    inputs = (model.inputs(ends) * (1 + 1e-6)).requires_grad_()
    mapped = model.pixels(inputs)
    assert torch.equal(mapped, ends)
    (gradient,) = torch.autograd.grad(mapped.sum(), inputs)
    assert torch.allclose(gradient, torch.full_like(gradient, 0.4))


def test_without_a_box_everything_is_valid():
    low, high = counted(linear(), 1, Budget("linf", 0.1, box=False)).box
    assert (float(low), float(high)) == (-math.inf, math.inf)


def test_the_loss_is_the_heads_negative_log_likelihood():
    model = counted(linear(), 4)
    images, labels = pixels(4), torch.tensor([0, 1, 2, 0])
    assert torch.allclose(model.loss(model(images), labels), nn.functional.cross_entropy(
        model._module(images), labels, reduction="none"))  # fmt: skip


def test_the_ascent_points_where_autograd_points():
    model = counted(conv_net(), 6)
    images, labels = pixels(6), torch.zeros(6, dtype=torch.int64)
    found, _ = model.ascent(images, labels)
    inputs = images.clone().requires_grad_()
    (due,) = torch.autograd.grad(nn.functional.cross_entropy(model._module(inputs), labels, reduction="sum"), inputs)
    cosine = nn.functional.cosine_similarity(found.flatten(1), due.flatten(1))
    assert torch.allclose(cosine, torch.ones_like(cosine))


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e8])
def test_a_saturated_softmax_still_has_a_direction(scale):
    module = linear(2, scale=scale, dtype=torch.float32)
    model = counted(module, 4, num_classes=2)
    images = pixels(4, dtype=torch.float32)
    labels = module(images).argmax(1)
    found, _ = model.ascent(images, labels)
    weight = module.body[1].weight.detach()
    due = torch.where(labels[:, None] == 0, weight[1] - weight[0], weight[0] - weight[1])
    assert torch.equal(found.flatten(1).sign(), due.sign())


def test_fixed_batches_make_rounding_independent_of_the_neighbours():
    module, images = conv_net(torch.float32), pixels(64, dtype=torch.float32)
    with torch.no_grad():
        whole, sevens, ones = (
            torch.cat([scores_of(module, part, 8) for part in images.split(size)]) for size in (64, 7, 1)
        )
    assert torch.equal(whole, sevens)
    assert torch.equal(whole, ones)


def test_a_fixed_batch_counts_and_differentiates_only_the_real_rows():
    plain, padded = counted(conv_net(), 5), counted(conv_net(), 5, fixed_batch=4)
    images, labels = pixels(5), torch.zeros(5, dtype=torch.int64)
    assert torch.allclose(plain.ascent(images, labels)[0], padded.ascent(images, labels)[0])
    assert padded.forwards.tolist() == padded.backwards.tolist() == [1] * 5


def test_frozen_gives_mode_and_flags_back_even_after_an_error():
    model = conv_net().train()
    model.body[0].weight.requires_grad_(False)
    with pytest.raises(ModelError), frozen(model):  # noqa: PT012 - what holds inside is the point
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        scores_of(nn.Flatten(0), pixels(2), None)
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
