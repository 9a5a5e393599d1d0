"""`attackgrid test`: what it prints of somebody's own component, and with which exit code it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from grids import call, environment

ROOT = Path(__file__).parent.parent
GOOD = '''
from torch import nn
from tasks.registry import component

@component("activation", version=1)
def mine():
    """max(x, 0), elementwise."""
    return nn.ReLU()
'''
BROKEN = GOOD.replace("nn.ReLU()", "nn.Softmax(1)")
SLOW = '''
from tasks.registry import component

@component("activation", version=1)
def mine(*, scale: float, name: str):
    """A multiple of x, elementwise."""
    return Scaled(scale, name)

from torch import nn

class Scaled(nn.Module):
    def __init__(self, scale, name):
        super().__init__()
        self.scale = scale

    def forward(self, net):
        return self.scale * net
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of somebody's own into the current directory, which Python does not look into."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text):
        name = f"somebodys_{len(list(tmp_path.iterdir()))}_{abs(hash(text))}"
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}:mine"

    return write


def test_a_component_that_keeps_its_promises_ends_with_0_and_a_line_for_each(module):
    name = module(GOOD)
    result = call("test", name)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"kept", "skipped"}
    assert any(line.endswith(": it has no penalty") for line in lines)
    assert f"activation {name}: " in result.stderr


def test_a_broken_promise_ends_with_5_and_says_why(module):
    result = call("test", module(BROKEN))
    assert result.exit_code == 5
    [broken] = [line for line in result.stdout.splitlines() if line.startswith("broken")]
    assert broken == (
        "broken   A unit's output depends on that unit alone, or on the block of neighbours that it declares: "
        "unit 0 changes others than its block of 1"
    )


def test_json_is_one_object_with_every_verdict(module):
    result = call("test", module(BROKEN), "--json")
    found = json.loads(result.stdout)
    assert (found["ok"], found["kind"], found["exit_code"], found["broken"]) == (False, "activation", 5, 1)
    assert found["kept"] + found["broken"] + found["skipped"] == len(found["promises"])
    assert {"promise", "words", "outcome", "why"} == found["promises"][0].keys()
    assert len(result.stderr.splitlines()) == len(found["promises"])


def test_a_parameter_without_a_default_gets_a_value_of_its_type_and_text_is_asked_for(module):
    name = module(SLOW)
    result = call("test", name)
    assert result.exit_code == 0
    assert "it needs a value for its parameter 'name': --set name=..." in result.stdout
    result = call("test", name, "--set", "name=any", "--set", "scale=3")
    assert result.exit_code == 0
    assert "needs a value" not in result.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no_such_module:walk"], "there is no module 'no_such_module'"),
        (["softmacks"], "Did you mean 'softmax'?"),
        (["softmax", "--kind", "attack"], "unknown attack 'softmax'"),
        (["pgd", "--set", "stesp=3"], "Did you mean 'steps'?"),
        (["pgd", "--set", "steps=0"], "steps: must be a whole number, at least 1, not 0"),
        (["pgd", "--set", "steps"], "must be parameter=value"),
        (["grids:call"], "grids:call is not declared with @component"),
    ],
)
def test_what_is_not_there_is_said_with_exit_code_2(module, words, says):
    result = call("test", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_module_that_cannot_be_imported_is_said_with_exit_code_2(module):
    result = call("test", module("import no_such_package\n" + GOOD))
    assert result.exit_code == 2
    assert "cannot be imported: ComponentSourceError" in result.stderr or "No module named" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_built_in_component_goes_by_its_name():
    assert call("test", "softmax").exit_code == 0
    assert call("test", "softmax", "--kind", "head").exit_code == 0


def test_a_package_in_the_current_directory_is_found_by_a_command_of_its_own(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "parts.py").write_text(BROKEN)
    run = subprocess.run(
        [sys.executable, "-P", "-m", "grid", "test", "package.parts:mine"],  # -P: as the installed command starts
        cwd=tmp_path, env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 5, run.stderr
    assert "unit 0 changes others" in run.stdout


def test_a_kind_that_there_is_not_is_said():
    refused = call("test", "pgd", "--kind", "atack")
    assert refused.exit_code == 2
    assert "unknown kind 'atack'. Did you mean 'attack'?" in refused.stderr
