"""Stores that earlier commits made, `stores/<commit>/`, and what was asked of them then.

    PYTHONPATH=<a checkout of the commit> python tests/old_stores.py tests/stores/<commit>

makes one of the `spec.yaml` there, with the code of the checkout: `store`, and `answers.json`, each question (the words
of a command) with the rows that were the answer. Neither is ever made again: they are what must stay readable.
"""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

from click.testing import CliRunner

from grid.cli import main
from grid.questions import TABLES

STORES = Path(__file__).parent / "stores"
FOLDERS = sorted(path for path in STORES.iterdir() if path.is_dir())
LAUNCH = ("launch", "spec.yaml", "--store", "store", "--address", "inline", "--cpus", "1", "--shard-size", "12")

LONG_TABLES = ("histogram", "measures_by_class")
"""Tables of which a part is enough."""

QUESTIONS = (
    *(("table", "store", name) for name in TABLES if name not in LONG_TABLES),
    *(("table", "store", name, "--where", "head=softmax,probe=confidence") for name in LONG_TABLES),
    ("status", "store"),
    *(
        ("sql", "store", f"select {columns} order by all")
        for columns in (
            "case_id, position, sample, target, label, clean_pred, adv_pred, success, member, steps, l2 from samples",
            "case_id, epoch, layer, measure, count(*) n, sum(value) total, count(value) k from measures group by all",
            "* exclude (seconds, host, device, gpu, worker, versions, run_id, finished) from cells",
            "* from history",
            "case_id, cell_id, attack_label, probe_label, source, variant, samples_wanted, samples_stored from cases",
            "case_id, fact, value from prepared",
            "case_id, cell_id, prepared_id, source_cell_id, variant, asked, samples_wanted from wanted",
            "* from published",
            "grid, outcome, done, failed, skipped from runs where done > 0",
        )
    ),
)


def call(*words):
    """A command in the folder where it is: its result."""
    return CliRunner().invoke(main, [str(word) for word in words])


def answer(words):
    """The columns and the rows that a command answers with."""
    printed = json.loads(call(*words, "--json").stdout)
    rows = printed["rows"] if "rows" in printed else printed["tables"][0]["rows"]
    return {"columns": list(rows[0]) if rows else [], "rows": [list(row.values()) for row in rows]}


def make(folder):
    """Launch the spec of a folder and ask the store everything."""
    os.chdir(folder)
    shutil.rmtree("store", ignore_errors=True)
    socket.gethostname = lambda: "a-machine"
    sys.argv = ["attackgrid", *LAUNCH]
    result = call(*LAUNCH, "--quiet")
    assert result.exit_code == 0, result.output
    lines = ",\n".join(json.dumps({"words": words, **answer(words)}) for words in QUESTIONS)
    Path("answers.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    make(sys.argv[1])
