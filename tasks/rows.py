"""The rows of a shard: what the judge found, as the columns of a table."""

import pyarrow as pa
import torch
from torch import Tensor

from tasks.cases import Case
from tasks.schema import SAMPLES, without_provenance
from tasks.types import Columns, Labels, Rows

MEASURED = without_provenance(SAMPLES)
"""The columns that the judge fills; the others say where it ran."""

_ALWAYS = ("steps", "forwards", "backwards", "seconds")
"""Columns that an attacked sample has even if nothing came back."""
_NAMES = {"pred": "adv_pred", "confidence": "adv_confidence", "margin": "adv_margin", "votes": "adv_votes"}


def rows_of(
    case: Case,
    samples: Tensor,
    labels: Labels,
    clean: Columns,
    pairs: Rows,
    targets: Labels | None,
    chosen: Rows,
    found: Columns,
) -> pa.Table:
    """The table of a shard, all given on the CPU.

    `samples`, `labels` and the columns of `clean`: a row for each sample. `pairs`: the sample of each row of the
    table, `targets` its target. `chosen`: the rows that were attacked; `found`: what came of them.
    """
    clean = {name: column[pairs] for name, column in clean.items()}
    labels = labels[pairs]
    attacked = torch.zeros(len(pairs), dtype=torch.bool).index_fill_(0, chosen, 1)
    done_before = clean["pred"] != labels if targets is None else clean["pred"] == targets
    success = torch.zeros_like(attacked).index_copy_(0, chosen, found.pop("success", attacked[chosen]))
    arrived = found.pop("arrived", attacked[chosen])
    known = {
        "sample": samples[pairs],
        "label": labels,
        "clean_correct": clean["pred"] == labels,
        "attacked": attacked,
        "success": success & ~done_before,
        **{f"clean_{name}": column for name, column in clean.items()},
        **({} if targets is None else {"target": targets}),
    }
    columns = {name: pa.array(column.numpy()) for name, column in known.items()}
    columns["case_id"] = pa.array([case.id] * len(pairs))
    if "votes" in clean:
        columns["draws"] = pa.array([case.attack.draws] * len(pairs))
    if "seconds" in found:
        found["seconds"] = found["seconds"].mean().expand(len(chosen))
    for name in {"second_success", "member"} & found.keys():
        found[name] *= ~done_before[chosen]
    for name, column in found.items():
        kept = column > 0 if name == "member" else torch.ones_like(arrived) if name in _ALWAYS else arrived
        columns[_NAMES.get(name, name)] = _sparse(column, kept & column.isfinite(), chosen, len(pairs))
    absent = pa.nulls(len(pairs))
    return pa.table([columns.get(field.name, absent).cast(field.type) for field in MEASURED], schema=MEASURED)


def _sparse(values: Tensor, valid: Tensor, rows: Tensor, count: int) -> pa.Array:
    """The valid values at their rows, and null elsewhere."""
    full = torch.zeros(count, dtype=values.dtype).index_copy_(0, rows, values)
    null = torch.ones(count, dtype=torch.bool).index_copy_(0, rows, ~valid)
    return pa.array(full.numpy(), mask=null.numpy())
