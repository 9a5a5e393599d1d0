"""What plans, tasks and outcomes are called: as facts for programs, as text for people. Pure."""

from collections.abc import Sequence
from typing import Any

from grid.plan.costs import Costs, work_left
from grid.plan.plan import Plan
from grid.run.ledger import Outcome
from grid.run.progress import duration
from grid.work.task import Task

PLAN_COUNTS = (
    *("cells", "cases", "cells_to_train", "attacks_to_prepare"),
    *("samples_wanted", "samples_stored", "shards_to_run"),
)


def plan_facts(name: str, plan: Plan, costs: Costs, data: Sequence[str] = ()) -> dict[str, Any]:
    """What `plan --json` prints. The expected time is that of one worker, from the history of the same components.

    `data`: a line for each dataset that is missing where it is looked for, or not what it should be.
    """
    seconds, all_known = costs.expect(work_left(plan))
    return {
        "name": name,
        **{count: getattr(plan, count) for count in PLAN_COUNTS},
        "expected_worker_seconds": round(seconds, 1) if seconds else None,
        "expectation_is_complete": all_known,
        "data": list(data),
    }


def plan_text(facts: dict[str, Any]) -> str:
    """What `plan` prints."""
    lines = [f"{facts['name']}: {facts['cells']} cells, {facts['cases']} cases"]
    shown = [count for count in PLAN_COUNTS[2:] if count != "attacks_to_prepare" or facts[count]]
    lines += [f"  {count.replace('_', ' '):<18} {facts[count]}" for count in shown]
    if not facts["cells_to_train"] and not facts["shards_to_run"]:
        lines.append("  nothing is missing")
    elif facts["expected_worker_seconds"]:
        least = "" if facts["expectation_is_complete"] else "at least "
        time = duration(facts["expected_worker_seconds"])
        lines.append(f"  expected time      {least}{time} on one worker, from this store's history")
    lines += [f"  data: {line}" for line in facts["data"]]
    return "\n".join(lines)


def task_text(task: Task) -> str:
    """What a task does, to what, and the id by which it is found in the store."""
    cell = task.cell
    words = f"{cell.dataset.name}/{cell.architecture.name}/{cell.head.name}/seed {cell.seed}"
    if task.case is None:
        return f"{task.kind} {words} ({task.id})"
    attack = task.case.name
    if task.positions is None:
        return f"{task.kind} {attack} on {words} ({task.id})"
    start, stop = task.positions
    return f"{attack} on {words}, samples {start}-{stop} ({task.case.id})"


def outcome_facts(name: str, location: str, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What `launch --json` prints."""
    done = ("cells", "shards", "samples", "failed", "skipped", "interrupted")
    return {
        "name": name,
        "store": location,
        "outcome": outcome.word,
        **{fact: getattr(outcome, fact) for fact in done},
        "plan": {count: getattr(plan, count) for count in PLAN_COUNTS},
    }


def outcome_text(name: str, location: str, plan: Plan, outcome: Outcome) -> str:
    """The last lines of a launch: each reason of failures once, then how much is done, failed, skipped."""
    lines = [f"failed {times} time{'s' if times != 1 else ''}: {reason}" for reason, times in outcome.reasons.items()]
    done = "nothing was missing" if plan.complete else f"done {outcome.cells} cells, {outcome.shards} shards"
    lines.append(
        f"{name}: {outcome.word}: {done}, {outcome.samples} samples; failed {outcome.failed}; skipped "
        f"{outcome.skipped}. See: attackgrid table {location}"
    )
    return "\n".join(lines)
