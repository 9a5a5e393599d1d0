"""Foreign components are asked once by a worker before any task: whether they can be had, and what they refuse."""

import json
import pickle
import subprocess
import sys

import pytest
from grids import HERE, call, environment, launch, write_spec
from PIL import Image

from grid.spec.read import load_spec
from grid.work.ask import unknown_part

PARTS = '''
from torch import nn
import torch
from tasks.registry import component

@component("architecture", version=1)
def picky(shape, activation, *, side: int = 8) -> nn.Module:
    """Takes images of one side."""
    if shape[1] != side:
        raise ValueError(f"sides of {side}, not {shape[1]}")
    body = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 4), activation())
    body.width = 4
    return body

@component("architecture", version=1)
def drawing(shape, activation) -> nn.Module:
    """Draws from torch's own generator when it evaluates."""
    class Body(nn.Module):
        width = 3
        def forward(self, images):
            return torch.rand(len(images), 3)
    return Body()

@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def still(model, images, labels, budget, streams, *, tries: int = 3):
    """Gives back what it is given."""
    return images, torch.zeros_like(labels)
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody's own; importing it leaves a file."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source=PARTS):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"from pathlib import Path\nPath({str(tmp_path / 'imported')!r}).touch()\n"
        )
        (tmp_path / name / "parts.py").write_text(source)
        return f"{name}.parts"

    return write


def spec_of(tmp_path, attack="fgsm", cells=None, **block):
    usual = {"dataset": "digits", "architecture": {"mlp": {"hidden": [8]}}, "training": {"epochs": 1}}
    return write_spec(tmp_path, cells=[{**usual, **block}], attacks=[{attack: {"eps": 0.1}}], samples={"count": 5})


def test_check_imports_nothing_and_launch_asks_before_any_task(tmp_path, package):
    module = package("asked_first")
    architecture = [{f"{module}:picky": {"side": {"each": [8, 9]}}}, f"{module}:drawing"]
    spec = spec_of(tmp_path, f"{module}:still", architecture=architecture)
    assert call("check", spec).exit_code == 0
    assert not (tmp_path / "imported").exists()
    refused = launch(spec, tmp_path / "store")
    assert refused.exit_code == 2
    assert "toy: 2 problems" in refused.stderr
    assert (
        f"digits/{module}:picky/relu/softmax/natural cannot be built: ValueError: sides of 9, not 8" in refused.stderr
    )
    assert (
        "drawing/relu/softmax/natural cannot be built: ModelError: the model draws from torch's own" in refused.stderr
    )
    assert not list(tmp_path.glob("store/*/*"))


def test_what_a_foreign_component_refuses_is_said_once_however_many_cases_it_is_about(tmp_path, package):
    refuses = "def refuses(*, eps):\n    if eps == 0.5:\n        yield 'eps must not be 0.5'"
    module = package("refuses_it", REFUSING.format(body="pass", refuses=refuses))
    spec = spec_of(tmp_path, f"{module}:still", head=["softmax", "softrmax"])
    path = spec.read_text().replace("eps: 0.1", "eps: 0.5")
    spec.write_text(path)
    refused = launch(spec, tmp_path / "store", "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["message"].splitlines() == [
        "toy: 1 problem",
        f"  attack {module}:still: eps must not be 0.5",
    ]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (PARTS.replace("import torch\n", "import torch, no_such_package\n"), "No module named 'no_such_package'"),
        (PARTS + "\n1 / 0\n", "ZeroDivisionError: division by zero"),
        (PARTS.replace("budget=", "stocastic=True, budget="), ""),
    ],
)
def test_a_component_that_cannot_be_imported_is_no_failure_of_tasks(tmp_path, package, source, says):
    module = package(f"broken_{abs(hash(says))}", source)
    refused = launch(spec_of(tmp_path, f"{module}:still"), tmp_path / "store")
    assert refused.exit_code == 2
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.glob("store/*/*"))


def test_a_grid_of_foreign_components_that_can_be_runs(tmp_path, package):
    module = package("good_one")
    spec = spec_of(tmp_path, f"{module}:still", architecture=f"{module}:picky")
    assert launch(spec, tmp_path / "store").exit_code == 0


def test_only_blocks_with_foreign_components_are_asked_about_and_travel(tmp_path, package):
    assert unknown_part(load_spec(spec_of(tmp_path))) is None
    module = package("travels")
    spec = load_spec(spec_of(tmp_path, f"{module}:still"))
    assert unknown_part(spec).blocks == spec.blocks
    assert len(pickle.dumps(unknown_part(spec))) < 10_000


def test_a_component_may_lie_in_the_current_folder(tmp_path):
    (tmp_path / "beside.py").write_text(PARTS)
    spec = spec_of(tmp_path, "beside:still")
    for words in (["check", spec], ["launch", spec, "--store", tmp_path / "store", "--address", "inline"]):
        # -P: as the console script is started, without the current folder
        done = subprocess.run(
            [sys.executable, "-P", "-m", "grid", *map(str, words)],
            cwd=tmp_path, env={**environment(), "PYTHONPATH": str(HERE.parent)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


REFUSING = """
from tasks.registry import component
import torch

@component("attack", version=1, norms=("linf",), budget="eps", knowledge="none")
def still(model, images, labels, budget, streams):
    {body}
    return images, torch.zeros_like(labels)

{refuses}
"""


@pytest.mark.parametrize(
    ("refuses", "says"),
    [
        ("def refuses(*, eps):\n    return {}['x']", "its `refuses` raised KeyError: 'x'"),
        ("def refuses(*, eps):\n    raise SystemExit(0)", "its `refuses` raised SystemExit: 0"),
        ("def refuses(*, eps):\n    return None", "its `refuses` gives None, which is no list of reasons"),
        ("def refuses(*, eps):\n    return 'abc'", "its `refuses` gives 'abc', which is no list of reasons"),
        ("def refuses(*, epps):\n    return []", "unknown name 'epps' of what `refuses` may take. Did you mean 'eps'"),
        ("def refuses(*, eps, **others):\n    return []", "unknown name 'others' of what `refuses` may take"),
        ("refuses = 5", "its `refuses` is no function"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
    ],
)
def test_foreign_code_that_misbehaves_where_it_is_asked_is_said_in_a_line(tmp_path, package, refuses, says):
    module = package(f"misbehaves_{abs(hash(refuses))}", REFUSING.format(body="pass", refuses=refuses))
    refused = launch(spec_of(tmp_path, f"{module}:still"), tmp_path / "store")
    assert refused.exit_code == 2
    assert says in refused.stderr
    assert "toy: 1 problem" in refused.stderr
    assert not list(tmp_path.glob("store/*/*"))


def test_a_component_that_ends_the_process_is_a_failure_and_no_success(tmp_path, package):
    module = package("ends_it_all", REFUSING.format(body="raise SystemExit(0)", refuses=""))
    spec = spec_of(tmp_path, f"{module}:still")
    spec.write_text(spec.read_text().replace("eps: 0.1", "eps: 0.1\n    attacked: all"))
    ended = launch(spec, tmp_path / "store")
    assert ended.exit_code == 3
    assert "SystemExit: 0" in ended.stderr
    tested = call("test", f"{module}:still")
    assert tested.exit_code == 5
    assert "broken" in tested.stdout


def test_the_models_of_sources_are_built_before_any_task_too(tmp_path, package):
    module = package("seen_by_attacks")
    spec = spec_of(tmp_path, architecture={"mlp": {"hidden": [8]}})
    spec.write_text(spec.read_text().replace("eps: 0.1", f"eps: 0.1\n    source: {{architecture: '{module}:drawing'}}"))
    refused = launch(spec, tmp_path / "store")
    assert refused.exit_code == 2
    assert "the model draws from torch's own generator" in refused.stderr
    assert not list(tmp_path.glob("store/*/*"))


def test_images_that_only_the_data_tell_of_are_looked_at_before_any_task(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "data" / "pets" / split / name
            folder.mkdir(parents=True)
            Image.effect_noise((16, 16), 64).convert("RGB").save(folder / "one.png")
    dataset = {"imagefolder": {"folder": "pets", "side": 16}}
    spec = spec_of(tmp_path, dataset=dataset, architecture="vgg16", seeds=[0, 1], head=["softmax", "softrmax"])
    assert call("check", spec).exit_code == 0
    refused = launch(spec, tmp_path / "store", "--data-root", tmp_path / "data")
    assert refused.exit_code == 2
    assert refused.stderr.count("vgg16 takes images of 3 channels and sides of 32 or more") == 1
    assert not list(tmp_path.glob("store/*/*"))


def test_what_asks_a_store_or_a_spec_runs_nothing_that_lies_in_the_current_folder(tmp_path):
    for name in ("pandas", "matplotlib", "IPython", "polars"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run')")
    spec = spec_of(tmp_path)
    for words in (["list", "heads"], ["check", spec], ["plan", spec, "--store", tmp_path / "store"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "grid", *map(str, words)],
            cwd=tmp_path, env={**environment(), "PYTHONPATH": str(HERE.parent)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
