"""Which path of a store means what: from ids to paths and back. The only module that knows.

    store.json                                        the version of the layout
    grids/<name>/spec.yaml, wanted.parquet, published.parquet
    cells/<cell>/cell.json, weights.safetensors, history.parquet
    training/<cell>/progress.json, state.safetensors, <case>.parquet
                                                      a training that is not done: gone when the cell is there
    prepared/<prepared>/prepared.json, state.safetensors
    shards/<case>/<start>-<stop>.parquet              positions of the sample order of an attack's or a probe's case,
                                                      each with as many rows
    failures/<task>/<time>-<attempt>.json
    runs/<run>/run.json, events.jsonl

Paths are relative to the store, with forward slashes. Knows nothing of what the files hold, or whether they exist.
"""

import hashlib
import re
from collections.abc import Iterable

from grid.ranges import Range

MARKER = "store.json"

GRIDS, CELLS, TRAINING, PREPARED = "grids", "cells", "training", "prepared"
SHARDS, FAILURES, RUNS = "shards", "failures", "runs"
"""The folders of a store."""

SPEC, WANTED, PUBLISHED = "spec.yaml", "wanted.parquet", "published.parquet"
"""The files of a grid."""
CELL_FACTS, WEIGHTS, HISTORY = "cell.json", "weights.safetensors", "history.parquet"
"""The files of a cell."""
PREPARED_FACTS, STATE = "prepared.json", "state.safetensors"
"""The files of a prepared attack. What an unfinished training goes on from is a state, too."""
PROGRESS = "progress.json"
"""How far an unfinished training is."""
RUN_RECORD, EVENTS = "run.json", "events.jsonl"
"""The files of a run."""

_SHARD = re.compile(r"(\d+)-(\d+)\.parquet")


def grid(name: str, file: str) -> str:
    """A file of a grid."""
    return f"{GRIDS}/{name}/{file}"


def cell(cell_id: str, file: str | None = None) -> str:
    """The folder of a trained cell, or a file in it."""
    return _in(f"{CELLS}/{cell_id}", file)


def training(cell_id: str, file: str | None = None) -> str:
    """The folder of an unfinished training, or a file in it."""
    return _in(f"{TRAINING}/{cell_id}", file)


def traced(cell_id: str, case_id: str) -> str:
    """What a probe has found in the epochs of an unfinished training."""
    return f"{TRAINING}/{cell_id}/{case_id}.parquet"


def prepared(prepared_id: str, file: str | None = None) -> str:
    """The folder of a prepared attack, or a file in it."""
    return _in(f"{PREPARED}/{prepared_id}", file)


def shards(case_id: str, file: str | None = None) -> str:
    """The folder with the shards of a case, or a file in it."""
    return _in(f"{SHARDS}/{case_id}", file)


def shard(case_id: str, positions: Range) -> str:
    """The file with the rows of some positions of a case."""
    return f"{SHARDS}/{case_id}/{positions.start}-{positions.stop}.parquet"


def positions_of(name: str) -> Range | None:
    """The positions that the name of a file in `shards` says it has; None if it is no shard's name."""
    match = _SHARD.fullmatch(name)
    return Range(int(match[1]), int(match[2])) if match else None


def failure(task_id: str, moment: str, attempt: object) -> str:
    """The record of a failed attempt; `moment` is a time in ISO format."""
    return f"{FAILURES}/{task_id}/{moment.replace(':', '')}-{attempt}.json"


def run(run_id: str, file: str) -> str:
    """A file of a run."""
    return f"{RUNS}/{run_id}/{file}"


def trial(location: str) -> str:
    """What may be written and removed to learn whether a store can be written. Its name is that of no run."""
    return f"{RUNS}/.probe-{hashlib.sha256(location.encode()).hexdigest()[:8]}"


def ids(names: Iterable[str]) -> list[str]:
    """Of the names in a folder those that are ids: what was set aside has a dot in its name."""
    return [name for name in names if "." not in name]


def _in(folder: str, file: str | None) -> str:
    return f"{folder}/{file}" if file else folder
