"""What orchestration costs, on a real local Ray.

Prints (1) the wall time of a grid of 1-second shards over the ideal time on the same slots, with and without the
start of Ray and of the workers; (2) commits per second of shards whose attack does nothing, with the floor: the same
files written by one process without any orchestration.

    python tests/benchmarks/overhead.py [--slots 2] [--shards 60] [--empty 1500]
"""

import argparse
import json
import os
import sys
import tempfile
import textwrap
import time
from datetime import datetime
from pathlib import Path

TOYS = '''
import time
import torch
from tasks.registry import component

@component("attack", version=1, norms=("linf",), budget="minimal", knowledge="none")
def sleeping(model, images, labels, budget, streams, *, seconds: float = 1.0):
    """Sleeps, and returns the images as they are."""
    time.sleep(seconds)
    return images.clone(), torch.zeros(len(images), dtype=torch.long)
'''

SPEC = """
name: overhead
samples: {{count: {samples}, order: natural}}
cells: [{{dataset: digits, architecture: {{mlp: {{hidden: [64]}}}}, training: {{epochs: 20}}}}]
attacks: [{{'overhead_toys:sleeping': {{seconds: {{each: {seconds}}}}}}}]
"""


def timed_grid(folder, seconds, shards, shard_size, slots):
    """Seconds from the first shard to the last result (and merged case), seconds of everything, and the store."""
    from grid.plan.costs import Costs
    from grid.run import ray_executor
    from grid.run.launch import launch
    from grid.spec.read import load_spec
    from grid.store.store import Store
    from grid.work.task import Settings

    per_case = min(shards, 500)
    cases = -(-shards // per_case)
    values = [seconds + i * 1e-9 for i in range(cases)]
    spec = Path(folder) / f"overhead-{seconds}.yaml"
    spec.write_text(SPEC.format(samples=per_case * shard_size, seconds=values))
    store = Store(str(Path(folder) / f"store-{seconds}"))
    settings = Settings(store=store.location, data_root=folder, run_id="")
    begun = time.perf_counter()
    marks = {}

    def open_executor(_required):
        executor = ray_executor.start_local(slots, None, 1.0)
        while executor.slots < slots:
            time.sleep(0.01)
        marks["ready"] = time.perf_counter()
        close = executor.close

        def closing():
            marks["done"] = time.perf_counter()
            close()

        executor.close = closing
        return executor

    def run(grid_spec):
        plan, outcome = launch(grid_spec, store, open_executor, settings, shard_size, Costs(), quiet=True)
        if outcome.exit_code:
            sys.exit(f"the grid failed: {outcome.reasons}")
        return plan

    trained = load_spec(spec, overrides=["attacks=[]"])
    run(trained)  # the cell first, so that only shards are timed
    begun = time.perf_counter()
    run(load_spec(spec))
    ended = time.perf_counter()
    return marks["done"] - marks["ready"], ended - begun, store


def seconds_between_shards(store):
    """Seconds from the first shard of the store's last run to its last one."""
    events_of_runs = sorted(Path(store.location, "runs").glob("*/events.jsonl"))
    events = [json.loads(line) for line in events_of_runs[-1].read_text().splitlines()]
    moments = [datetime.fromisoformat(event["time"]) for event in events if "-" in event["task"]]
    return (max(moments) - min(moments)).total_seconds()


def floor(store, count):
    """Commits per second of one process that only writes: the rows of a shard, again and again."""
    import pyarrow.parquet as pq

    from grid.ranges import Range

    rows = pq.read_table(min(Path(store.location, "shards").glob("*/*.parquet"))).slice(0, 1)
    begun = time.perf_counter()
    for i in range(count):
        store.shards.save("floor", Range(i, i + 1), rows, "", "{}")
    return count / (time.perf_counter() - begun)


def main():
    parser = argparse.ArgumentParser(description=textwrap.dedent(__doc__))
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--shards", type=int, default=60)
    parser.add_argument("--empty", type=int, default=1500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "overhead_toys.py").write_text(TOYS)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        running, whole, _ = timed_grid(folder, 1.0, options.shards, 5, options.slots)
        ideal = -(-options.shards // options.slots) * 1.0
        print(f"{options.shards} shards of 1 s on {options.slots} slots: {running:.2f} s, ideal {ideal:.0f} s")
        print(f"  ratio {running / ideal:.3f}; with the start of Ray and workers {whole / ideal:.3f}")
        running, _, store = timed_grid(folder, 0.0, options.empty, 1, options.slots)
        until_last = seconds_between_shards(store)
        least = floor(store, 500)
        print(f"{options.empty} empty shards: {options.empty / until_last:.0f} commits/s")
        print(f"  with the merging of the files at the end: {options.empty / running:.0f} commits/s")
        print(f"  one process that only writes: {least:.0f} commits/s; ratio {options.empty / until_last / least:.2f}")


if __name__ == "__main__":
    main()
