"""Every promise can be broken: a toy breaks it, and no promise that is asked before it, and is found out."""

from pathlib import Path

import pytest
from broken.toys import toys

from tasks import registry
from tasks.contracts.subject import Subject
from tasks.contracts.suite import asked, examine, promises, words
from tasks.types import DataRoot

ROOT = Path(__file__).parent.parent
TOYS = toys()
BROKEN = [
    pytest.param(kind, toy, promise, id=f"{kind} {promise} {toy.partition(':')[2]}")
    for (kind, promise), names in TOYS.items()
    if promise
    for toy in names
]


def of(kind, name):
    return Subject(kind, name, root=DataRoot(ROOT))


@pytest.mark.parametrize(("kind", "toy", "promise"), BROKEN)
def test_a_toy_breaks_its_promise_and_none_before_it(kind, toy, promise):
    verdicts = []
    for each in promises(kind):
        verdicts.append(asked(each, of(kind, toy)))
        if verdicts[-1].outcome == "broken":
            break
    assert [(verdict.promise, verdict.outcome) for verdict in verdicts if verdict.outcome == "broken"] == [
        (promise, "broken")
    ]
    assert verdicts[-1].why


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_every_promise_is_broken_by_a_toy(kind):
    assert [each.__name__ for each in promises(kind) if not TOYS[kind, each.__name__]] == []
    named = {promise for toy_kind, promise in TOYS if toy_kind == kind}
    assert named - {each.__name__ for each in promises(kind)} == {""}


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_every_promise_is_kept_by_the_good_toys_and_none_is_broken(kind):
    kept = set()
    for toy in TOYS[kind, ""]:
        for verdict in examine(of(kind, toy)):
            assert verdict.outcome != "broken", f"{toy}, {verdict.promise}: {verdict.why}"
            kept |= {verdict.promise} if verdict.outcome == "kept" else set()
    assert kept == {each.__name__ for each in promises(kind)}


@pytest.mark.parametrize("kind", registry.FOLDERS)
def test_a_promise_is_a_sentence_in_one_line(kind):
    for promise in promises(kind):
        assert words(promise).endswith(".")
        assert "\n" not in words(promise)


def test_whatever_a_component_raises_breaks_its_promise_and_is_named():
    def raises(subject):
        """It raises."""
        raise KeyError("what")

    verdict = asked(raises, of("head", "softmax"))
    assert (verdict.outcome, verdict.why) == ("broken", "KeyError: 'what'")
