import io
import sys

from test_plan import ONE, WEAK, plan

from grid.plan.costs import Costs, cost_key, work_left
from grid.ranges import Range
from grid.run.ledger import Tally
from grid.run.progress import Progress, duration
from grid.work.task import Task


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_durations_are_said_in_two_units():
    assert [duration(s) for s in (0.4, 59, 61, 3600, 90000)] == ["0s", "59s", "1m 01s", "1h 00m", "1d 1h"]


def test_time_left_is_that_of_each_kind_of_work_shared_by_the_workers():
    made = plan({}, trained=[ONE])
    costs = Costs()
    costs.add(cost_key(WEAK), 10.0, 100)  # 0.1 s a sample, 750 samples
    costs.add(cost_key(ONE), 60.0, 2)  # 30 s a training, one to do
    assert costs.expect(work_left(made)) == (75.0 + 30.0, True)
    assert Progress(made, costs, quiet=True).line(2, Tally()).endswith("2 workers, 52s left")


def test_what_was_never_measured_makes_the_time_left_a_least_one():
    made = plan({})
    assert "time left not known yet" in Progress(made, Costs(), quiet=True).line(1, Tally())
    progress = Progress(made, Costs(), quiet=True)
    tally, task = Tally(), Task("attack", ONE, WEAK, Range(0, 100))
    tally.did(task)
    progress.spent(task, 10.0)
    line = progress.line(1, tally)
    assert "shards 1/9, samples 100/750" in line
    assert line.endswith("at least 1m 05s left")


def test_on_a_terminal_there_is_one_live_line_that_is_wiped_at_the_end(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = Progress(plan({}), Costs())
    progress._said -= 1
    progress.tick(2, Tally())
    progress.say("a shard failed")
    progress.end()
    written = sys.stderr.getvalue()
    assert written.startswith("\r\x1b[2Kcells 0/2, shards 0/9")
    assert "\r\x1b[2Ka shard failed\n" in written
    assert written.endswith("\r\x1b[2K")


def test_elsewhere_there_are_plain_lines_now_and_then(capsys):
    progress = Progress(plan({}), Costs())
    progress.tick(2, Tally())
    progress._said -= 60
    progress.tick(2, Tally())
    assert capsys.readouterr().err.count("\n") == 1
