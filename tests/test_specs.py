"""The specs that ship: they load, in every profile, and a small part of each is really run on real images."""

from pathlib import Path

import pytest
import yaml
from expansions import cases, cells
from grids import answered, call
from real_images import real_images

from grid.spec.read import load_spec

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
NETWORKS = ("cnn_small", "resnet_small")
PROFILES = [
    (path, profile) for path in SPECS for profile in (None, *yaml.safe_load(path.read_text()).get("profiles", {}))
]


@pytest.mark.parametrize(("path", "profile"), PROFILES, ids=lambda value: getattr(value, "stem", value))
def test_a_spec_that_ships_loads_in_every_profile(path, profile):
    spec = load_spec(path, profile=profile)
    assert cases(spec)
    assert spec.name == path.stem


def test_the_softrmax_spec_is_the_whole_of_its_four_tables():
    spec = load_spec(ROOT / "specs/softrmax.yaml")
    assert len(list(cells(spec))) == 3 * 3 * 2
    assert len(list(cases(spec))) == 3 * 2 * 2 * (2 + 2 + 1 + 1 + 3)
    assert {value.source for value in spec.published} == {f"Table 5.{number}" for number in (1, 2, 3, 4)}


@pytest.mark.drill
def test_a_published_value_stands_beside_what_is_measured_on_real_images(tmp_path):
    if not (DATA / "FashionMNIST").exists():
        pytest.skip(f"no Fashion-MNIST under {DATA}")
    store = tmp_path / "store"
    result = call(
        "launch", ROOT / "specs/softrmax.yaml", "--profile", "smoke", "--store", store, "--address", "inline",
        "--data-root", DATA, "--set", "exclude=[{dataset: [mnist, mnist_3_7]}, {variant: corrected}]",
        "--set", "samples.count=20", "--set", "cells.*.training.samples=2000",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = answered(call("table", store, "published", "--json"))
    assert len(found) == 24 + 6
    assert all(
        row["published"] is not None and row["as_published"] is not None for row in found if "accuracy" in row["metric"]
    )
    robust = next(r for r in found if (r["head"], r["attack"], r["metric"]) == ("softmax", "fgsm", "robust_accuracy"))
    assert robust["published"] == 0.3671
    assert robust["as_published_n"] == 20
    text = call("table", store, "published").stdout
    assert "Table 5.1" in text
    assert "36.71" in text


@pytest.mark.drill
def test_the_tables_of_the_geometry_study_are_made_on_real_images(tmp_path):
    data = real_images(tmp_path, "cifar10-jpeg")
    store = tmp_path / "store"
    result = call(
        "launch", ROOT / "specs/geometry.yaml", "--profile", "smoke", "--store", store, "--address", "inline",
        "--data-root", data, "--set", "cells.*.dataset={cifar10: {jpeg: false}}",
        "--set", "samples.count=8", "--set", "cells.*.training.samples=400",
        "--set", "exclude=[{attack: fgsm, eps: [0.005, 0.01]}]",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    fooling = answered(call("table", store, "fooling", "--json"))
    assert {row["attack"].partition("(")[0] for row in fooling} == {
        *("fgsm", "deepfool", "sparsefool", "one_pixel", "universal")
    }
    assert all(row["complete"] for row in fooling)
    fitted = [row for row in fooling if row["attack"].startswith("universal")]
    assert all(0 <= row["fit_fooling_rate"] <= 1 and row["n_attacked"] == 8 for row in fitted)
    transfer = answered(call("table", store, "transfer", "--json"))
    pairs = [(row["source_architecture"], row["architecture"]) for row in transfer if row["eps"] == 15]
    assert sorted(pairs) == sorted(2 * [(a, b) for a in NETWORKS for b in NETWORKS])
