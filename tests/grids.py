"""Grids for tests that really run: specs, launches in this process or another, and the rows that came out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from click.testing import CliRunner

from grid.cli import main
from grid.ranges import cover
from grid.store.store import Store
from tasks.judge import MEASURED

HERE = Path(__file__).parent
SLOW = "grid_components:slow"


def write_spec(folder, **changes):
    document = {
        "name": "toy",
        "samples": {"count": 40},
        "cells": [
            {
                "dataset": "digits",
                "architecture": {"mlp": {"hidden": [8]}},
                "head": ["softmax", "softrmax"],
                "training": {"epochs": 2, "batch_size": 64},
            }
        ],
        "attacks": [{"fgsm": {"eps": "8/255"}}, {SLOW: {"eps": 0.1, "seconds": 0.0}}],
        "tables": ["robust_accuracy"],
        **changes,
    }
    path = Path(folder) / f"{document['name']}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def call(*words):
    """A command in this process: its result, with `exit_code`, `stdout` and `stderr`."""
    return CliRunner().invoke(main, [str(word) for word in words])


def launch(spec, store, *words):
    return call("launch", spec, "--store", store, "--address", "inline", "--cpus", 1, "--shard-size", 10, *words)


def environment():
    return {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def command(*words, **options):
    """A command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "grid", *(str(word) for word in words)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def answered(result):
    """The rows that a command printed with `--json`, those of all tables one after the other."""
    printed = json.loads(result.stdout)
    return printed["rows"] if "rows" in printed else [row for table in printed["tables"] for row in table["rows"]]


def rows(location):
    """Every measured row of a store that counts, in order, without what a clock measured."""
    store = Store(str(location))
    tables = [
        pq.read_table(Path(location, f"shards/{case}/{s.stored.start}-{s.stored.stop}.parquet"))
        .slice(s.skip, s.take)
        .select([name for name in MEASURED.names if name != "seconds"])
        .replace_schema_metadata()
        for case in sorted(store.shards.cases())
        for s in cover(f.positions for f in store.shards.inventory(case, None).whole)
    ]
    return pa.concat_tables(tables)
