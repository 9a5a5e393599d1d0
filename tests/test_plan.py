from grid.plan.expand import Ask, WantedCell
from grid.plan.plan import NOTHING, Stored, make_plan
from grid.ranges import Range
from tasks.cases import Attack, Budget, Case
from tasks.config import Cell, Component


def cell(seed):
    parts = {kind: Component(kind, "toy", 1) for kind in ("dataset", "architecture", "activation", "head", "defense")}
    return Cell(**parts, training=Component("training", "standard", 1), seed=seed)


def case(of, eps):
    return Case(of, Attack(Component("attack", "fgsm", 1), Budget("linf", eps)))


ONE, TWO = cell(1), cell(2)
WEAK, STRONG, OTHER = case(ONE, 0.1), case(ONE, 0.3), case(TWO, 0.1)


def wanted(*cases, samples):
    """The stream of a grid with these cases."""
    cells = dict.fromkeys([ONE, TWO])
    return [
        WantedCell(each, "shuffled", [Ask(c.under, samples, "", c.source) for c in cases if c.cell == each], None)
        for each in cells
    ]


def plan(stored, trained=(), size=100, samples=250, unprepared=()):
    there = Stored(lambda c: stored.get(c.id, []), lambda c: c in trained, lambda c: c.id not in unprepared)
    return make_plan(wanted(WEAK, STRONG, OTHER, samples=samples), there, size)


def test_an_empty_store_lacks_every_cell_and_every_sample():
    made = plan({})
    assert (made.cells, made.cases, made.cells_to_train) == (2, 3, 2)
    assert (made.samples_wanted, made.samples_stored, made.shards_to_run) == (750, 0, 9)
    assert [(w.cell, w.train, [c.case for c in w.cases]) for w in made.work] == [
        (ONE, True, [WEAK, STRONG]),
        (TWO, True, [OTHER]),
    ]


def test_a_plan_is_what_is_wanted_minus_what_is_stored():
    made = plan({WEAK.id: [Range(0, 250)], STRONG.id: [Range(100, 200)]}, trained=[ONE])
    assert made.samples_stored == 350
    assert [(w.cell, w.train) for w in made.work] == [(ONE, False), (TWO, True)]
    assert list(made.work[0].cases[0].missing) == [Range(0, 100), Range(200, 250)]
    assert made.shards_to_run == 2 + 3


def test_another_shard_size_asks_for_no_sample_again():
    stored = {c.id: [Range(0, 250)] for c in (WEAK, STRONG, OTHER)}
    for size in (1, 33, 1000):
        assert plan(stored, trained=[ONE, TWO], size=size).complete


def test_more_samples_ask_only_for_the_new_ones():
    stored = {c.id: [Range(0, 250)] for c in (WEAK, STRONG, OTHER)}
    made = plan(stored, trained=[ONE, TWO], samples=300)
    assert {tuple(c.missing) for w in made.work for c in w.cases} == {(Range(250, 300),)}


def test_more_stored_than_wanted_is_complete_and_counts_only_what_is_wanted():
    stored = {c.id: [Range(0, 1000)] for c in (WEAK, STRONG, OTHER)}
    made = plan(stored, trained=[ONE, TWO])
    assert made.complete
    assert made.samples_stored == made.samples_wanted == 750


def test_cases_that_share_what_is_prepared_ask_for_it_once():
    universal = Attack(Component("attack", "universal", 1), Budget("linf", 0.3))
    own, transferred = Case(ONE, universal), Case(TWO, universal, source=ONE)
    made = make_plan(wanted(own, transferred, OTHER, samples=10), NOTHING, 10)
    assert made.attacks_to_prepare == 1
    assert [(c.case.name, c.prepare) for w in made.work for c in w.cases] == [
        ("universal", True),
        ("universal", True),
        ("fgsm", False),
    ]
    assert own.prepared_id == transferred.prepared_id
    assert own.id != transferred.id
    there = Stored(lambda _: [], lambda _: True, lambda _: True)
    assert make_plan(wanted(own, transferred, samples=10), there, 10).attacks_to_prepare == 0
