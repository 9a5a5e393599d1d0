"""Words that nobody knows."""

import pytest

from tasks.words import closest, did_you_mean, unknown


@pytest.mark.parametrize(
    ("word", "known", "of", "says"),
    [
        ("pdg", ["pgd", "apgd"], "", "unknown attack 'pdg'. Did you mean 'pgd'? Known: apgd, pgd"),
        ("pdg", ["cw"], "a cascade", "unknown attack 'pdg' of a cascade. Known: cw"),
        ("pdg", [], "", "unknown attack 'pdg'. Known: none"),
    ],
)
def test_an_unknown_word_is_named_with_the_closest_and_all_known_ones_in_order(word, known, of, says):
    assert unknown("attack", word, known, of) == says


def test_nothing_is_suggested_where_nothing_is_alike():
    assert closest("pgd", {"pdg", "boundary"}) == "pdg"
    assert closest("pgd", {"boundary"}) is None
    assert did_you_mean("pgd", {"boundary"}) == ""
