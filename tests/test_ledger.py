"""The ledger of a run: plans and ends of tasks in, tasks out. No store, no executor."""

from collections import Counter

import pytest
from test_plan import ONE, OTHER, STRONG, TWO, WEAK, plan, wanted

from grid.plan.plan import NOTHING, CellWork, Plan, make_plan
from grid.ranges import Range
from grid.run.ledger import MAX_LOST, MERGED_FILES, NOTHING_DONE, Ledger
from grid.work.task import Task
from tasks.cases import Attack, Budget, Case, Probe
from tasks.config import Component

UNIVERSAL = Attack(Component("attack", "universal", 1), Budget("linf", 0.3))


def ledger(made=None, size=100, stored=(), num_files=1):
    """A ledger of a plan, and of a store that has these positions and files of each case."""
    return Ledger(made or plan({}, size=size), size, lambda case: stored, lambda case: num_files)


def begun(book):
    """All that may be begun now."""
    return list(iter(book.next, None))


def finish(book):
    """Everything done, one after the other, in the order in which it was begun."""
    order = []
    while task := book.next():
        book.done(task)
        order.append(task)
    return order


def kinds(tasks):
    return Counter(task.kind for task in tasks)


def test_of_a_cell_that_is_not_trained_nothing_else_is_begun():
    assert [(task.kind, task.cell) for task in begun(ledger())] == [("train", ONE), ("train", TWO)]


def test_what_was_begun_is_finished_before_another_cell_is_trained():
    order = finish(ledger())
    assert [task.case for task in order] == [None, WEAK, WEAK, WEAK, STRONG, STRONG, STRONG, None, OTHER, OTHER, OTHER]
    assert [task.positions for task in order[1:4]] == [Range(0, 100), Range(100, 200), Range(200, 250)]


def test_only_what_is_missing_of_cells_that_are_there_is_begun():
    made = plan({WEAK.id: [Range(0, 250)], STRONG.id: [Range(100, 200)], OTHER.id: [Range(0, 240)]}, trained=[ONE, TWO])
    assert [(task.case, *task.positions) for task in begun(ledger(made))] == [
        *((STRONG, 0, 100), (STRONG, 200, 250), (OTHER, 240, 250))
    ]


def test_everything_done_is_counted_and_complete():
    book = ledger()
    finish(book)
    outcome = book.outcome()
    assert (outcome.cells, outcome.shards, outcome.samples) == (2, 9, 750)
    assert (outcome.failed, outcome.skipped, outcome.word, outcome.exit_code) == (0, 0, "complete", 0)


def test_where_nothing_was_missing_there_is_nothing_to_begin():
    stored = {case.id: [Range(0, 250)] for case in (WEAK, STRONG, OTHER)}
    book = ledger(plan(stored, trained=[ONE, TWO]))
    assert begun(book) == []
    assert book.outcome() == NOTHING_DONE


def test_a_transfer_waits_for_its_source_as_well():
    transfer = Case(ONE, WEAK.attack, source=TWO)
    book = ledger(make_plan(wanted(transfer, OTHER, samples=10), NOTHING, 100))
    one, two = begun(book)
    book.done(one)
    assert begun(book) == []
    book.done(two)
    assert [task.case for task in begun(book)] == [OTHER, transfer]


def test_what_an_attack_prepares_is_made_once_and_its_cases_wait_for_it():
    own, transferred = Case(ONE, UNIVERSAL), Case(TWO, UNIVERSAL, source=ONE)
    book = ledger(make_plan(wanted(own, transferred, samples=10), NOTHING, 100))
    for task in begun(book):
        book.done(task)
    (prepare,) = begun(book)
    assert (prepare.kind, prepare.id) == ("prepare", own.prepared_id)
    assert book.held_up(prepare) == [own, transferred]
    book.done(prepare)
    assert [task.case for task in begun(book)] == [own, transferred]


def test_a_case_that_comes_later_finds_what_was_prepared_for_another():
    own, transferred = Case(ONE, UNIVERSAL), Case(TWO, UNIVERSAL, source=ONE)
    assert kinds(finish(ledger(make_plan(wanted(own, transferred, samples=10), NOTHING, 100)))) == {
        "train": 2, "prepare": 1, "attack": 2,
    }  # fmt: skip


def test_a_cell_is_trained_after_the_one_that_it_begins_with():
    made = Plan(2, 0, 2, 0, 0, 0, 0, [CellWork(ONE, train=True, base=TWO.id), CellWork(TWO, train=True)])
    book = ledger(made)
    (base,) = begun(book)
    assert base.cell == TWO
    book.done(base)
    assert [task.cell for task in begun(book)] == [ONE]


def test_probes_of_each_epoch_go_with_the_training():
    traced = Case(ONE, Probe(Component("probe", "confidence", 1), "each"))
    book = ledger(make_plan(wanted(traced, WEAK, samples=10), NOTHING, 100))
    training = book.next()
    assert (training.kind, training.traced) == ("train", ((traced, 10),))
    book.done(training)
    assert [task.case for task in begun(book)] == [WEAK, None]  # and the other cell's training
    assert book.outcome().samples == 10


def test_a_task_whose_worker_was_lost_goes_before_everything_else():
    book = ledger()
    training = book.next()
    book.done(training)
    first, second = book.next(), book.next()
    assert book.lost(first)
    assert book.lost(second)
    assert [book.next(), book.next()] == [first, second]


def test_a_task_is_begun_so_often_and_no_more_when_it_loses_every_worker():
    book = ledger()
    training = book.next()
    assert [book.lost(training) for _ in range(MAX_LOST)] == [True] * (MAX_LOST - 1) + [False]
    assert book.attempts(training) == MAX_LOST
    assert kinds(begun(book)) == {"train": 1 + MAX_LOST - 1}


def test_a_task_that_failed_at_once_was_tried_once():
    book = ledger()
    assert book.attempts(book.next()) == 1


def test_what_needs_a_cell_that_could_not_be_trained_is_skipped():
    book = ledger()
    book.failed(book.next(), "no luck")
    assert {task.cell for task in finish(book)} == {TWO}
    outcome = book.outcome()
    assert (outcome.cells, outcome.shards, outcome.failed, outcome.skipped, outcome.exit_code) == (1, 3, 1, 6, 3)


def test_a_shard_that_failed_is_not_skipped_as_well():
    book = ledger(plan({}, trained=[ONE, TWO]))
    book.failed(book.next(), "no luck")
    finish(book)
    outcome = book.outcome()
    assert (outcome.shards, outcome.failed, outcome.skipped, outcome.word) == (8, 1, 0, "incomplete")


def test_each_reason_is_counted():
    book = ledger(plan({}, trained=[ONE, TWO]))
    for reason in ("one", "other", "one"):
        book.failed(book.next(), reason)
    assert book.outcome().reasons == {"one": 2, "other": 1}


def test_after_an_interruption_nothing_is_begun_and_nothing_is_tried_again():
    book = ledger(plan({}, trained=[ONE, TWO]))
    first, second = book.next(), book.next()
    book.interrupt()
    book.done(first)
    assert not book.lost(second)
    assert begun(book) == []
    outcome = book.outcome()
    assert (outcome.shards, outcome.skipped, outcome.exit_code, outcome.word) == (1, 8, 130, "interrupted")


@pytest.mark.parametrize(
    ("stored", "shards"), [([], 3), ([Range(0, 100)], 2), ([Range(0, 50), Range(200, 250)], 2), ([Range(0, 250)], 0)]
)
def test_rows_of_other_weights_do_not_count_once_a_cell_is_trained_again(stored, shards):
    planned = {WEAK.id: [Range(0, 200)], STRONG.id: [Range(0, 250)], OTHER.id: [Range(0, 250)]}
    book = ledger(plan(planned, trained=[TWO]), stored=stored)
    training = book.next()
    book.done(training)
    assert kinds(begun(book)) == ({"attack": shards} if shards else {})
    assert book.outcome().skipped == shards


def test_of_cells_that_were_there_before_the_plan_is_believed():
    def never(case):
        pytest.fail("asked of a case whose cells are as they were when it was planned")

    book = Ledger(plan({WEAK.id: [Range(0, 200)]}, trained=[ONE, TWO]), 100, never, lambda case: 1)
    assert len(begun(book)) == 7


@pytest.mark.parametrize(("num_files", "merges"), [(MERGED_FILES - 1, 0), (MERGED_FILES, 3)])
def test_finished_cases_of_many_files_are_merged_when_there_is_nothing_better_to_do(num_files, merges):
    order = finish(ledger(num_files=num_files))
    assert [task.case for task in order if task.kind == "merge"] == [WEAK, STRONG, OTHER][:merges]
    assert "merge" not in kinds(order[:11])


def test_a_case_of_which_a_shard_failed_is_not_merged():
    book = ledger(plan({}, trained=[ONE, TWO]), num_files=MERGED_FILES)
    book.failed(book.next(), "no luck")
    assert [task.case for task in finish(book) if task.kind == "merge"] == [STRONG, OTHER]


def test_a_merge_that_fails_leaves_nothing_missing():
    book = ledger(plan({}, trained=[ONE, TWO]), num_files=MERGED_FILES)
    while (task := book.next()).kind != "merge":
        book.done(task)
    book.failed(task, "merged by somebody else")
    assert book.outcome().exit_code == 0


def test_a_failed_training_is_about_no_case_and_a_failed_shard_about_its_own():
    book = ledger()
    assert book.held_up(Task("train", ONE)) == [None]
    assert book.held_up(Task("attack", ONE, WEAK, Range(0, 1))) == [WEAK]
