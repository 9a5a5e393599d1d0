"""The nearest boundary of a linear model in closed form, and the last fooling point before the boundary of a ray."""

import pytest
import torch
from attack_toys import linear, pixels

from tasks.attacks._class_boundary import drawn_back, false_position, nearest
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import all_others, best_other, best_others, gap_gradient

COUNT = 12


def seen(model, images):
    points = images.clone().requires_grad_()
    return points, model(points)


def length(gradient):
    return gradient.flatten(1).norm(dim=1)


def boundaries(images, num_classes=5):
    """Of a linear model: the counted model, the labels, the other classes, the gaps to them and what is nearest."""
    model = CountedModel(linear(num_classes), torch.arange(len(images)), Budget("l2", None), num_classes=num_classes)
    points, scores = seen(model, images)
    labels = scores.argmax(1)
    others = all_others(labels, num_classes)
    gaps = scores.detach().gather(1, others) - scores.detach().gather(1, labels[:, None])
    return model, labels, others, gaps, nearest(points, scores, others, labels, gaps, length)


def test_the_nearest_boundary_of_a_linear_model_is_that_of_the_formula():
    model, labels, others, gaps, found = boundaries(pixels(COUNT))
    weights = model.classifier.body[1].weight
    normals = weights[others] - weights[labels][:, None]
    ways = gaps.abs() / normals.norm(dim=2)
    place = ways.argmin(1, keepdim=True)
    assert len(set(place[:, 0].tolist())) > 1
    assert torch.allclose(found.ways, ways.gather(1, place)[:, 0], rtol=1e-12)
    assert torch.equal(found.gaps, gaps.gather(1, place)[:, 0])
    assert torch.allclose(found.all_slopes, normals.norm(dim=2), rtol=1e-12)
    assert torch.allclose(found.slopes, found.all_slopes.gather(1, place)[:, 0], rtol=1e-12)
    assert torch.allclose(found.gradients.flatten(1), normals[torch.arange(COUNT), place[:, 0]], rtol=1e-12)


def test_every_boundary_looked_at_costs_a_backward():
    model, *_ = boundaries(pixels(COUNT))
    assert model.backwards.tolist() == [4] * COUNT


def test_of_boundaries_that_are_all_infinitely_far_none_is_taken():
    images = pixels(3)
    points, scores = seen(linear(2), images)
    zeros = torch.zeros(3, dtype=torch.int64)
    gaps = torch.full((3, 1), torch.inf, dtype=torch.float64)
    found = nearest(points, scores, zeros[:, None] + 1, zeros, gaps, length)
    assert found.ways.tolist() == [torch.inf] * 3
    assert not found.gaps.any()
    assert not found.gradients.any()


def test_false_position_ends_a_ten_thousandth_beyond_the_root_of_an_even_margin():
    roots = torch.tensor([0.3, 0.7, 0.999], dtype=torch.float64)
    asked = []

    def look(share):
        asked.append(share)
        return roots - share, share > roots

    share = false_position(look, roots, roots - 1, 5)
    assert len(asked) == 5
    assert bool((share > roots * (1 + 0.9e-4)).all())
    assert torch.allclose(share, roots, rtol=1.1e-4)


def test_a_ray_on_which_nothing_closer_fools_is_kept_whole():
    at_image, at_point = torch.tensor([1.0]), torch.tensor([-1.0])
    assert false_position(lambda share: (share, share < 0), at_image, at_point, 5).tolist() == [1.0]


@pytest.mark.parametrize("targeted", [False, True])
def test_points_are_drawn_back_along_their_rays_and_still_fool(targeted):
    images, module = pixels(COUNT), linear(5)
    labels = module(images).argmax(1)
    targets = best_other(module(images), labels) if targeted else None
    model = CountedModel(module, torch.arange(COUNT), Budget("l2", None), num_classes=5, targets=targets)
    gradient = module.body[1].weight[best_other(module(images), labels)] - module.body[1].weight[labels]
    points = (images + gradient.view_as(images)).clamp(0, 1)
    rows = torch.nonzero(model.fooled(module(points), labels))[:, 0]
    assert len(rows) > COUNT // 2
    images, points, labels, view = images[rows], points[rows], labels[rows], model.at(rows)
    first, last = (view.margins(module(ends), labels).detach() for ends in (images, points))
    found = drawn_back(view, images, labels, points, last, first)
    assert bool(view.fooled(module(found), labels).all())
    shares = (found - images).flatten(1).norm(dim=1) / (points - images).flatten(1).norm(dim=1)
    assert torch.allclose(found, torch.lerp(images, points, shares.view(-1, 1, 1, 1)))
    assert bool((shares < 1).all())
    assert model.forwards[rows].tolist() == [5] * len(rows)


def test_other_classes_come_best_first_or_in_their_order_and_never_more_than_there_are():
    scores, labels = torch.tensor([[1.0, 4.0, 3.0, 2.0], [5.0, 4.0, 6.0, 7.0]]), torch.tensor([1, 0])
    assert best_others(scores, labels, 2).tolist() == [[2, 3], [3, 2]]
    assert best_others(scores, labels, 9).tolist() == [[2, 3, 0], [3, 2, 1]]
    assert all_others(labels, 4).tolist() == [[0, 2, 3], [1, 2, 3]]
    assert gap_gradient(scores, torch.tensor([3, 1]), labels).tolist() == [[0, -1, 0, 1], [-1, 1, 0, 0]]
