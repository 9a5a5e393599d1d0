"""What it costs to check and to plan large grids, in processor seconds, and as a ratio to making their cases alone.

    python tests/benchmarks/planning.py              # 100,000 cases, and the largest shipped spec
    python tests/benchmarks/planning.py --cases 1000000

`cases alone` is a loop that makes as many `Case` objects with their ids, in the same process: no plan can cost less.
"""

import argparse
import itertools
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

SPEC = """
name: large
samples: {{count: 1000}}
seeds: [{seeds}]
cells: [{{dataset: digits, architecture: mlp, head: [softmax, softrmax]}}]
attacks: [{{pgd: {{eps: 0.1, steps: {{each: [{steps}]}}}}}}]
exclude: [{{seed: [0], head: softrmax, attack.steps: [2, 3]}}]
"""


def large(folder, cases):
    """A spec of about so many cases: half as many seeds as kinds of attack."""
    attacks = max(1, int((2 * cases) ** 0.5 / 2))
    seeds = -(-cases // (2 * attacks))
    path = Path(folder, "large.yaml")
    listed = {"seeds": range(seeds), "steps": range(1, attacks + 1)}
    path.write_text(SPEC.format(**{name: ", ".join(map(str, values)) for name, values in listed.items()}))
    return path


def timed(function):
    begun = time.process_time()
    result = function()
    return time.process_time() - begun, result


def planned_with_tables(spec):
    from grid.plan.expand import expand
    from grid.plan.plan import NOTHING, make_plan
    from grid.plan.wanted import Tables

    tables = Tables()
    make_plan(tables.watched(expand(spec)), NOTHING, 100)
    return tables.wanted(), tables.published(spec.published)


def measured(path):
    from grid.plan.expand import expand
    from grid.plan.plan import NOTHING, make_plan
    from grid.spec.read import load_spec
    from tasks.cases import Case

    seconds = {}
    seconds["load_spec"], spec = timed(lambda: load_spec(path))
    seconds["count, as check"], count = timed(lambda: sum(len(wanted.asks) for wanted in expand(spec)))
    seconds["plan"], _ = timed(lambda: make_plan(expand(spec), NOTHING, 100))
    seconds["plan and tables, as launch"], _ = timed(lambda: planned_with_tables(spec))
    wanted = itertools.chain.from_iterable(cell.cases() for cell in expand(spec))
    parts = [(each.case.cell, each.case.under, each.case.order, each.case.source) for each in wanted]
    limit, _ = timed(lambda: [Case(*part).id for part in parts])
    return count, seconds, limit


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    options = parser.parse_args()
    shipped = Path(__file__).parents[2] / "specs/capped_relu.yaml"
    with tempfile.TemporaryDirectory() as folder:
        for path in (large(folder, options.cases), shipped):
            count, seconds, limit = measured(path)
            print(f"{path.stem}: {count} cases; cases alone {limit:.2f} s")
            for what, spent in seconds.items():
                print(f"  {what:<28} {spent:6.2f} s  {spent / limit:6.2f} x cases alone")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
