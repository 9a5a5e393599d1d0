"""The keys of a spec, each said once: what stands at its top, in a block, and beside the parameters of what is asked.

What is meant where nothing is said is in `grid.plan.defaults`. Knows nothing of how a spec is read.
"""

from typing import Any, Literal

from tasks.cases import Norm, Space
from tasks.config import CELL_PARTS, SETTINGS
from tasks.parameters import Count, CountOrZero, Radius

ASKED = {"attacks": "attack", "probes": "probe"}
"""The keys under which stands what is asked of cells, and the kind of component listed there."""
SHARED_KEYS = ("seeds", *SETTINGS, *ASKED)
"""What a spec says for all of its blocks, and a block for itself."""
BLOCK_KEYS = (*CELL_PARTS, *SHARED_KEYS, "variant")
"""The keys of a block."""
KEYS = ("name", "extends", "samples", "cells", *SHARED_KEYS, "exclude", "tables", "published", "profiles")
"""The top-level keys of a spec."""
SAMPLES_KEYS: dict[str, Any] = {"count": Literal["all"] | Count, "order": Literal["shuffled", "natural"]}
"""The keys of `samples`, and their types."""
TABLE_KEYS = ("over", "pivot", "columns", "sort", "sql")
"""What a table may say of how it is laid out; `sql` makes it one of the spec's own."""
HARNESS_KEYS: dict[str, Any] = {
    "eps": Radius,
    "norm": Norm,
    "space": Space,
    "box": bool,
    "samples": Count,
    "targets": Literal["all"] | CountOrZero | list[CountOrZero],
    "eot": Count,
    "draws": Count,
    "attacked": Literal["correct", "all"],
}
"""The keys of an attack's map that are the harness's own, and their types. No parameter may have such a name."""
BUDGET_KEYS = ("eps", "norm", "space", "box")
"""Those that a member of a cascade may say for itself."""
PROBE_KEYS: dict[str, Any] = {"samples": Count, "epochs": Literal["last", "each"]}
"""The keys of a probe's map that are the harness's own, and their types. No parameter may have such a name."""
SOURCE = "source"
"""One more key of both: what the cell that is looked at has in place of the parts of the cell it is judged on."""
SOURCE_KEYS = (*CELL_PARTS, *SETTINGS, "seed")
"""What a source may differ in."""
CASCADE_KEYS = ("cascade", "name", "attacks", *HARNESS_KEYS, SOURCE)
"""The keys of a cascade."""
