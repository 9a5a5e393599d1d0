"""Packages that a spec needs: which attacks they have and whether they are installed is told without importing them."""

import importlib
import importlib.util
import inspect
import json
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from grids import HERE, call, environment, launch, write_spec

from tasks import packages
from tasks.facts import AttackFacts
from tasks.peer_names import MODULES, known_attacks
from tasks.registry import describe, names

BASES = {
    "art": ("art.attacks.attack", "EvasionAttack"),
    "foolbox": ("foolbox.attacks.base", "AttackWithDistance"),
    "torchattacks": ("torchattacks.attack", "Attack"),
}


def need(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def spec_of(folder, *attacks):
    return write_spec(folder, attacks=list(attacks))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_the_attacks_of_a_library_are_found_in_its_source(name):
    need(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(MODULES[name])
        base = getattr(importlib.import_module(BASES[name][0]), BASES[name][1])
    attacks = {
        key
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not inspect.isabstract(value)
    }
    assert attacks <= known_attacks(MODULES[name])
    assert len(known_attacks(MODULES[name])) <= len(attacks) + 3


@pytest.mark.parametrize(
    ("name", "attack", "close"),
    [("art", "ElasticNett", "ElasticNet"), ("foolbox", "LinfPDG", "LinfPGD"), ("torchattacks", "PGDL22", "PGDL2")],
)
def test_an_attack_that_a_library_does_not_have_is_found_by_check_with_its_line(tmp_path, name, attack, close):
    need(name)
    spec = spec_of(tmp_path, "deepfool", {name: {"attack": attack, "eps": 0.1}})
    line = next(at for at, text in enumerate(spec.read_text().splitlines(), 1) if attack in text)
    result = call("check", spec)
    assert result.exit_code == 2
    assert f"line {line}, attacks.1.{name}.attack: {MODULES[name]} has no attack {attack!r}" in result.stderr
    assert f"Did you mean {close!r}?" in result.stderr


def test_a_name_that_is_close_to_none_lists_them_all(tmp_path):
    need("art")
    result = call("check", spec_of(tmp_path, {"art": {"attack": "NoSuchAttack"}}))
    assert "has no attack 'NoSuchAttack'" in result.stderr
    assert result.exit_code == 2


def test_check_imports_no_library_whose_attacks_it_knows(tmp_path):
    need("foolbox")
    spec = spec_of(tmp_path, {"foolbox": {"attack": "LinfPGD", "eps": 0.1}})
    program = (
        "import sys\nfrom grid.cli import main\n"
        f"main(['check', {str(spec)!r}], standalone_mode=False)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'foolbox', 'art'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_library_that_is_not_installed_is_a_warning_of_check_and_plan_and_keeps_a_launch_from_running(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "art", None)  # as Python has it of what cannot be imported
    spec, store = spec_of(tmp_path, "deepfool", {"art": {"attack": "Whatever"}}), tmp_path / "store"
    known_attacks.cache_clear()
    monkeypatch.setattr("tasks.peer_names.known_attacks", lambda module: None)
    says = "attack 'art' needs the package 'art', which is not installed: pip install 'attackgrid[peers]'"
    for words in (("check", spec), ("plan", spec, "--store", store)):
        result = call(*words)
        assert result.exit_code == 0
        assert f"attacks.1.art: {says}" in result.stderr
    result = launch(spec, store, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"] == "Missing"
    assert result.stderr.count(f"  {says}") == 1
    assert not list(store.rglob("*.safetensors"))


def test_every_attack_of_a_library_says_which_it_needs_and_how_to_install_it():
    for name in MODULES:
        assert describe("attack", name).facts.requires == (name,)
        assert "attackgrid[peers]" in packages.install(name)
    others = [describe("attack", name).facts.requires for name in names("attack") if name not in MODULES]
    assert not any(others)


def test_a_module_that_is_not_installed_has_no_known_attacks():
    assert known_attacks("no_such_library.attacks") is None


def test_names_are_found_under_conditions_and_a_star_leaves_them_unknown(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "library_of_names.py").write_text(
        "from a import First, lower as Second\nimport Module\n"
        "if True:\n    from b import Third\nelse:\n    Fourth = First\n"
        "try:\n    class Fifth: pass\nexcept ImportError:\n    Sixth = None\n"
        "def function():\n    from c import Seventh\n"
    )
    assert known_attacks("library_of_names") == {"First", "Second", "Third", "Fourth", "Fifth", "Sixth"}
    (tmp_path / "library_of_stars.py").write_text("from a import *\nfrom b import First\n")
    assert known_attacks("library_of_stars") is None


def test_a_folder_of_its_name_is_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    described = replace(describe("attack", "art"), facts=AttackFacts(
        norms=("linf",), budget="eps", knowledge="none", requires=("only_a_folder",)
    ))  # fmt: skip
    (tmp_path / "only_a_folder").mkdir()
    assert "needs the package 'only_a_folder', which is not installed" in packages.lacking(described)[0]
    (tmp_path / "only_a_folder" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert packages.lacking(described) == []
