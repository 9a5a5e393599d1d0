"""One function of a module, with what of the module it uses, without the rest."""

import sys

from tasks.slices import function_from

SOURCE = """
import math
from collections.abc import Iterator
from nowhere import heavy, noise
from nowhere.else_ import Shape

LEAST = 3
TWICE: int = 2 * LEAST


def refuses(*, count: int, noise: float = 0.0, shape: Shape = ()) -> Iterator[str]:
    if count < TWICE:
        yield _said(count)
    heavy = [math.floor(each) for each in shape]
    yield from (str(each + noise) for each in heavy)


def _said(count):
    return f"{count} is less than {TWICE}"


def runs(images):
    return heavy(images)


raise AssertionError("the module is not imported")
"""


def test_a_function_runs_with_what_it_uses_of_its_module_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "sliced_module.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    refuses = function_from("sliced_module", "refuses")
    assert list(refuses(count=5)) == ["5 is less than 6"]
    assert list(refuses(count=6, noise=0.5, shape=(1.7,))) == ["1.5"]
    assert "sliced_module" not in sys.modules


def test_what_is_no_function_at_the_top_of_a_module_is_none():
    assert function_from("tasks.activations.relu", "refuses") is None
    assert function_from("tasks.attacks.one_pixel", "_Search") is None
