from hypothesis import given
from hypothesis import strategies as st

from grid.ranges import Range, Slice, cover, cut, num_shards, subtract

ranges = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda t: Range(t[0], t[0] + t[1])), max_size=12
)


def positions(found):
    return [p for r in found for p in range(r.start, r.stop)]


def test_what_is_stored_is_subtracted_from_what_is_wanted():
    assert subtract(100, [Range(0, 10), Range(40, 60)]) == [Range(10, 40), Range(60, 100)]
    assert subtract(100, []) == [Range(0, 100)]
    assert subtract(100, [Range(0, 200)]) == []
    assert subtract(0, []) == []


def test_shards_are_cut_at_multiples_of_their_size_so_that_a_resumed_run_cuts_alike():
    assert list(cut([Range(130, 350)], 100)) == [Range(130, 200), Range(200, 300), Range(300, 350)]
    assert list(cut([Range(200, 300)], 100)) == [Range(200, 300)]


def test_of_a_merged_file_and_its_parts_only_the_merged_one_counts():
    assert cover([Range(0, 10), Range(10, 20), Range(0, 20)]) == [Slice(Range(0, 20), 0, 20)]


def test_of_two_files_that_overlap_the_second_counts_from_where_the_first_ends():
    assert cover([Range(5, 20), Range(0, 10)]) == [Slice(Range(0, 10), 0, 10), Slice(Range(5, 20), 5, 10)]


@given(ranges)
def test_a_cover_has_every_stored_position_exactly_once(stored):
    covered = [p for found, skip, take in cover(stored) for p in range(found.start + skip, found.start + skip + take)]
    assert covered == sorted(set(positions(stored)))


@given(st.integers(0, 90), ranges, st.integers(1, 25))
def test_stored_and_missing_make_up_what_is_wanted_and_shards_cut_it_whole(wanted, stored, size):
    missing = subtract(wanted, stored)
    assert positions(missing) == sorted(set(range(wanted)) - set(positions(stored)))
    shards = list(cut(missing, size))
    assert positions(shards) == positions(missing)
    assert len(shards) == num_shards(missing, size)
    assert all(0 < r.stop - r.start <= size for r in shards)
