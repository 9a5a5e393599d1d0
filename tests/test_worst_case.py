"""What holds within an eps whatever attack is tried, and which vote says so: worked out by hand."""

from dataclasses import replace

import pytest
from test_query import FREE, answer, sample_row, wanted_row, written

from grid.results.query import query
from grid.results.views import Contents, Slice, connect
from tasks.schema import PUBLISHED, SAMPLES, WANTED


def hits(folder, cases, **asked):
    """A store of one cell: cases (their wanted row's differences, and [(sample, success, distances), ...])."""
    wanted, slices = [], []
    for number, (differences, rows) in enumerate(cases):
        case = f"k{number}"
        wanted.append(wanted_row("c", case, samples=len(rows), **asked | differences))
        found = [sample_row(case, sample, success=success, **more) for sample, success, more in rows]
        path = written(folder / f"{case}.parquet", found, SAMPLES)
        slices.append(Slice(case, path, 0, 0, len(rows)))
    return Contents(wanted=[("g", written(folder / "wanted.parquet", wanted, WANTED))], slices=slices)


def at(eps):
    return {"eps": eps, "eps_label": str(eps), "attack_label": f"fgsm(eps={eps})"}


def test_a_success_at_a_smaller_distance_is_one_at_a_larger_eps_whatever_attack_made_it(tmp_path):
    far = {"linf": 1.0, "l2": 5.0}
    cases = [
        (at(0.2), [(1, True, {"linf": 0.2}), (2, False, {"linf": 0.2}), (3, False, {"linf": 0.2})]),
        (at(1.0), [(1, False, far), (2, False, far), (3, False, far)]),
        (FREE | {"attack_label": "deepfool"}, [(1, False, far), (2, True, {"linf": 0.21, "l2": 0.3}), (3, True, far)]),
        (at(0.3) | {"box": False}, [(3, True, {"linf": 0.1})]),
        (at(0.3) | {"space": "standardised"}, [(3, True, {"linf": 0.1})]),
    ]
    columns = ("eps_label", "space", "box", "accuracy", "decided_by")
    with connect(hits(tmp_path, cases)) as con:
        assert answer(con, "worst_case", "g", *columns) == [
            ("0.2", "pixel", True, pytest.approx(2 / 3), "fgsm 1"),
            ("0.3", "pixel", False, 0.0, "fgsm 1"),
            ("0.3", "standardised", True, 0.0, "fgsm 1"),
            ("1.0", "pixel", True, 0.0, "deepfool 2, fgsm(eps=0.2) 1"),
        ]


def test_what_is_beyond_its_own_eps_is_no_success_in_the_ball(tmp_path):
    """A published procedure may leave its ball, and is measured; what it finds within counts whoever made it."""
    cases = [
        (at(0.1) | {"variant": "published"}, [(1, True, {"linf": 0.4}), (2, True, {"linf": 0.1})]),
        (at(0.1) | {"variant": "corrected"}, [(1, False, {"linf": 0.1}), (2, False, {"linf": 0.1})]),
    ]
    with connect(hits(tmp_path, cases)) as con:
        found = answer(con, "worst_case", "g", "variant", "attacks", "accuracy")
        assert found == [("corrected, published", 2, 0.5)]


DRAWING = '{"draws": 10, "targets": null, "then": []}'


def voted(first, second, success, sample=1):
    told = {"draws": 10, "clean_votes": 1.0, "adv_votes": first, "second_votes": second, "linf": 0.1}
    return (sample, first < 0.5, told | {"second_success": success, "second_pred": 2 if success else 1})


def test_of_a_model_that_draws_the_second_vote_on_the_worst_image_decides(tmp_path):
    """Sample 1: the luckiest image does not stand; sample 2: it does; sample 3: none was lucky, and yet one falls."""
    cases = [
        (at(0.1), [voted(0.4, 0.1, True), voted(0.9, 1.0, False, 2), voted(0.6, 0.4, True, 3)]),
        (at(0.1), [voted(0.3, 0.8, False), voted(0.2, 0.3, True, 2), voted(0.7, 0.9, False, 3)]),
    ]
    with connect(hits(tmp_path, cases, attack_json=DRAWING)) as con:
        (row,) = query(con, "worst_case", "g").to_pylist()
        assert (row["accuracy"], row["draws"], row["vote"]) == (pytest.approx(1 / 3), 10, "second")


def test_of_several_targets_a_published_accuracy_stands_beside_the_one_that_robust_accuracy_has(tmp_path):
    """Of a model that draws the luckiest target is nominated: on sample 1 it does not stand, on sample 2 it does."""
    aims = ((0.4, 0.9, False, 1, 2), (0.9, 1.0, False, 1, 3), (0.3, 0.2, True, 2, 2), (0.8, 0.9, False, 2, 3))
    rows = [
        (sample, success, told | {"target": target})
        for *vote, target in aims
        for sample, success, told in [voted(*vote)]
    ]
    targeted = '{"draws": 10, "targets": [2, 3], "then": []}'
    value = {"metric": "robust_accuracy", "value": 0.5, "source": "here", "note": ""}
    published = written(tmp_path / "published.parquet", [{"case_id": "k0", "cell_id": "c"} | value], PUBLISHED)
    contents = replace(hits(tmp_path, [(at(0.1), rows)], attack_json=targeted), published=[("g", published)])
    with connect(contents) as con:
        _, under_attack = answer(con, "robust_accuracy", "g", "accuracy", "n")
        assert under_attack == (0.5, 2)
        assert answer(con, "published", "g", "measured", "measured_n") == [under_attack]


def test_rows_from_before_the_second_vote_say_that_the_first_decided(tmp_path):
    cases = [(at(0.1), [(1, hit, {"linf": 0.1})]) for hit in (True, False)]
    with connect(hits(tmp_path, cases, attack_json=DRAWING)) as con:
        (row,) = query(con, "worst_case", "g").to_pylist()
        assert (row["accuracy"], row["draws"], row["vote"]) == (0.0, 10, "first (too low)")


def test_a_cell_that_draws_has_one_clean_accuracy_for_each_number_of_draws(tmp_path):
    def vote(sample, right, draws):
        return (sample, False, {"draws": draws, "clean_votes": right / draws, "clean_correct": right > draws / 2})

    def asking(draws):
        return {"attack_json": f'{{"draws": {draws}}}'}

    cases = [
        (asking(1), [vote(1, 1, 1), vote(2, 0, 1), vote(3, 1, 1)]),
        (asking(10), [vote(1, 9, 10), vote(2, 6, 10), vote(3, 10, 10)]),
        (asking(10), [vote(1, 9, 10), vote(2, 6, 10)]),
    ]
    with connect(hits(tmp_path, cases)) as con:
        rows = query(con, "robust_accuracy", "g").to_pylist()
        clean = [(row["draws"], row["accuracy"], row["n"]) for row in rows if row["attack"] == "none"]
        assert clean == [(1, pytest.approx(2 / 3), 3), (10, 1.0, 3)]
