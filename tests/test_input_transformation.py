"""Transformations in front of a model: what each does to an image, whose gradient it has, and what it draws."""

import pytest
import torch
from attack_toys import attacked
from defended import cell, real_images, toy, trained
from torch.nn.functional import interpolate

from tasks.cases import Budget
from tasks.defenses.input_transformation import input_transformation
from tasks.noise import Noise, drawing, is_stochastic
from tasks.registry import describe
from tasks.streams import Streams
from tasks.types import TaskError

STRENGTHS = {"translate": 2.0, "noise": 0.2, "blur": 0.8, "crop_resize": 0.2, "binarise": 0.5, "bit_depth": 2.0}
RANDOM = ("translate", "noise", "crop_resize")
QUANTISED = ("binarise", "bit_depth")


def pixels(count=6, shape=(2, 7, 5), seed=1):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(kind, **options):
    model = toy(shape=(2, 7, 5), mean=(0.5, 0.5), std=(0.25, 0.25))
    input_transformation(**{"kind": kind, "strength": STRENGTHS[kind]} | options).adapt(model)
    return model.eval().input


def transformed(images, kind, *, samples=None, step=0, **options):
    """The images as the harness would have them transformed, at one of their passes."""
    samples = torch.arange(len(images)) if samples is None else samples
    with drawing(Noise(Streams("key", samples), torch.full_like(samples, step))):
        return layer(kind, **options)(images)


@pytest.fixture(scope="module")
def mnist():
    return real_images(600, 200)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_an_image_keeps_its_shape_its_type_and_its_range(kind):
    for images in (pixels(), pixels().float(), torch.zeros(2, 2, 7, 5), torch.ones(2, 2, 7, 5)):
        found = transformed(images, kind)
        assert found.shape == images.shape
        assert found.dtype == images.dtype
        assert found.min() >= -1e-6
        assert found.max() <= 1 + 1e-6


def test_an_image_is_translated_by_whole_pixels_and_black_moves_in():
    images = pixels(1).expand(400, -1, -1, -1)
    padded = torch.zeros(2, 11, 9, dtype=torch.float64)
    padded[:, 2:9, 2:7] = images[0]
    shifts = {(down, right): padded[:, down : down + 7, right : right + 5] for down in range(5) for right in range(5)}
    found = {}
    for image in transformed(images, "translate"):
        place = next(shift for shift, moved in shifts.items() if torch.equal(moved, image))
        found[place] = found.get(place, 0) + 1
    assert found.keys() == shifts.keys()
    assert max(found.values()) < 16 + 5 * 4


def test_noise_is_clipped_to_the_range_of_a_sensor():
    grey = torch.full((2, 1, 100, 100), 0.5, dtype=torch.float64)
    found = transformed(grey, "noise", strength=0.1)
    assert found.std().item() == pytest.approx(0.1, rel=0.05)
    dark = transformed(torch.zeros_like(grey), "noise", strength=0.1)
    assert (dark == 0).double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_blurred_point_is_a_gaussian_and_an_even_image_stays_even():
    point = torch.zeros(1, 1, 21, 25, dtype=torch.float64)
    point[0, 0, 10, 12] = 1
    found = transformed(point, "blur", strength=1.5)[0, 0]
    rows, columns = torch.arange(21).double() - 10, torch.arange(25).double() - 12
    squares = rows[:, None].square() + columns.square()
    expected = (-squares / (2 * 1.5**2)).exp()
    # The weights of the outermost rows and columns are renormalised, so what they gather is compared inside.
    assert torch.allclose(found[6:-6, 6:-6], (expected / expected.sum())[6:-6, 6:-6], rtol=1e-4)
    assert torch.allclose(transformed(torch.full_like(point, 0.3), "blur"), torch.full_like(point, 0.3))


def test_a_crop_resized_ramp_is_the_ramp_of_the_part_that_is_left():
    """Bilinear interpolation is exact on a ramp: the slope shrinks to 1 - strength, and the start says where."""
    size, cut = 40, 0.25
    ramp = (torch.arange(size, dtype=torch.float64) / size).view(1, 1, 1, -1).expand(200, 1, size, size)
    found = transformed(ramp, "crop_resize", strength=cut)
    slopes = found[:, 0, :, 1:-1].diff() * size
    assert torch.allclose(slopes[:, :, 3:-3], torch.full_like(slopes[:, :, 3:-3], 1 - cut))
    centres = found[:, 0, 0, size // 2 - 1 : size // 2 + 1].mean(1)  # of the crop: (size - 1) / 2 / size, moved
    offsets = centres - (size - 1) / 2 / size
    assert offsets.min() > -cut / 2 - 1e-9
    assert offsets.max() < cut / 2 + 1e-9
    assert offsets.std().item() == pytest.approx(cut / 12**0.5, rel=0.15)


def test_a_crop_of_half_an_image_is_resized_as_torch_does_it(monkeypatch):
    """Away from the edge of the crop, beyond which torch sees nothing of the image."""
    images = pixels(3, (1, 8, 8))
    monkeypatch.setattr(
        "tasks.noise.uniform", lambda like: torch.tensor([0.25, 0.75], dtype=like.dtype).expand_as(like)
    )
    crops = images[:, :, 1:5, 3:7]  # of the 4 pixels that the crop can start at, a quarter and three quarters
    expected = interpolate(crops, scale_factor=2, mode="bilinear", align_corners=False)
    found = layer("crop_resize", strength=0.5)(images)
    assert torch.allclose(found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], rtol=1e-12)


@pytest.mark.parametrize("gradient", ["straight_through", "true"])
def test_quantised_pixels_are_exact(gradient):
    values = torch.tensor([0.0, 0.2, 0.49, 0.5, 0.51, 0.9, 1.0]).view(1, 1, 1, -1)
    how = {"gradient": gradient}
    assert transformed(values, "binarise", strength=0.5, **how).flatten().tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert transformed(values, "bit_depth", strength=1.0, **how).flatten().tolist() == [0, 0, 0, 0, 1, 1, 1]
    levels = transformed(pixels(50).float(), "bit_depth", strength=3.0, **how)
    assert torch.equal(levels.unique(), torch.arange(8) / 7)
    bytes_ = torch.arange(256).view(1, 1, 16, 16) / 255
    assert torch.equal(transformed(bytes_, "bit_depth", strength=8.0, **how), bytes_)


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_gradient_is_passed_straight_through_or_is_zero(kind):
    images, weights = pixels().requires_grad_(), pixels(seed=2)
    for gradient, due in (("straight_through", weights), ("true", torch.zeros_like(weights))):
        found = transformed(images, kind, gradient=gradient)
        (gotten,) = torch.autograd.grad((found * weights).sum(), images)
        assert torch.equal(gotten, due)


@pytest.mark.parametrize("kind", QUANTISED)
def test_the_masked_gradient_stops_an_attack_that_the_identitys_does_not(kind):
    images, fooled = pixels(40, (1, 4, 4)), []
    for gradient in ("straight_through", "true"):
        model = toy(2, shape=(1, 4, 4))
        input_transformation(kind=kind, strength=STRENGTHS[kind], gradient=gradient).adapt(model)
        rows = attacked(model.eval(), "fgsm", Budget("linf", 0.3), images)
        fooled.append(sum(row["success"] for row in rows))
    assert fooled[0] > 20
    assert fooled[1] == 0


@pytest.mark.parametrize("kind", ["translate", "blur", "crop_resize", "noise"])
@pytest.mark.parametrize("gradient", ["straight_through", "true"])
def test_the_other_kinds_have_the_gradient_of_what_they_do(kind, gradient):
    images, weights, direction = pixels().requires_grad_(), pixels(seed=2), pixels(seed=3) - 0.5
    found = transformed(images, kind, gradient=gradient)
    (gotten,) = torch.autograd.grad((found * weights).sum(), images)
    ends = [(transformed(images.detach() + step * direction, kind) * weights).sum() for step in (1e-6, -1e-6)]
    assert (gotten * direction).sum().item() == pytest.approx((ends[0] - ends[1]).item() / 2e-6, rel=1e-6)
    assert gotten.abs().sum() > 0


@pytest.mark.parametrize("kind", STRENGTHS)
def test_what_is_drawn_belongs_to_the_sample_and_the_pass_and_not_to_the_batch(kind):
    images, samples = pixels(), torch.tensor([7, 3, 9, 4, 1, 8])
    together = transformed(images, kind, samples=samples)
    for rows in ([0], [4, 0], [5, 2, 1]):
        alone = transformed(images[rows], kind, samples=samples[rows])
        assert torch.allclose(alone, together[rows], rtol=0, atol=1e-15)
    again = transformed(images, kind, samples=samples, step=1)
    assert torch.equal(again, together) == (kind not in RANDOM)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_the_declaration_and_the_module_agree_on_which_kinds_are_random(kind):
    declared = describe("defense", "input_transformation").facts.stochastic["kind"]
    assert is_stochastic(layer(kind)) == (kind in declared) == (kind in RANDOM)


@pytest.mark.parametrize(
    ("kind", "strength", "message"),
    [
        ("translate", 1.5, "strength is 1.5, but for translate it is a whole number of pixels"),
        ("crop_resize", 1.0, "a share below 1 of the side"),
        ("binarise", 1.0, "a threshold below 1"),
        ("bit_depth", 9.0, "a whole number of bits, 1 to 8"),
        ("bit_depth", 2.5, "a whole number of bits, 1 to 8"),
    ],
)
def test_a_strength_that_means_nothing_for_the_kind_is_refused(kind, strength, message):
    with pytest.raises(TaskError, match=message):
        input_transformation(kind=kind, strength=strength)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_two_epochs_on_real_images_lower_the_loss(mnist, kind):
    settings = cell("input_transformation", kind=kind, strength=STRENGTHS[kind])
    model, history = trained(settings, mnist, epochs=2, batch_size=32, lr=2e-3)
    before, after = history["loss"].to_pylist()
    assert after < before
    assert history["test_accuracy"].to_pylist()[1] > 0.5
    assert is_stochastic(model) == (kind in RANDOM)
