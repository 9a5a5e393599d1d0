"""The columns of every stored row, with units and nulls. Nowhere else are they defined.

Distances compare the returned image with the clean one **in the space of the case's budget** (`space`): pixels in
[0, 1], or standardised units. They are those of the image that came back, successful or not; null where none came.
"""

import pyarrow as pa

from tasks.config import CELL_AXES, LABELLED_AXES, SETTINGS

FORMAT = 1
"""The version of the store's layout and schemas: a store of any other is refused.

A column that is added does not change it: files from before are read with null there. What would be misread does.
"""

_ADDED = b"added"
_STOOD_FOR = b"stood for"


def _field(
    name: str, kind: pa.DataType, meaning: str, *, null: bool = False, added: str = "", stood_for: str = ""
) -> pa.Field:
    """A column. `added` is the version that added it, if it was not there from the first: older rows have null.

    `stood_for`: the text that an older row means by it.
    """
    about = {"meaning": meaning, _ADDED: added, _STOOD_FOR: stood_for}
    return pa.field(name, kind, nullable=null or bool(added), metadata=about)


def is_added_later(field: pa.Field) -> bool:
    """Whether there are files of attackgrid's that lack the column."""
    return bool((field.metadata or {}).get(_ADDED))


def stood_for(field: pa.Field) -> str:
    """The text that rows from before the column mean where they have null; empty where that is null."""
    return str((field.metadata or {}).get(_STOOD_FOR, b""), "ascii")


def without_provenance(schema: pa.Schema) -> pa.Schema:
    """The columns of SAMPLES or MEASURES that the harness fills; the others say where it ran."""
    made_where = {field.name for field in _PROVENANCE}
    return pa.schema([field for field in schema if field.name not in made_where])


_TEXT = pa.string()
_F32 = pa.float32()
_I32 = pa.int32()


def _axis(name: str) -> pa.Field:
    if name in SETTINGS:
        values = SETTINGS[name]
        return _field(name, _TEXT, f"of the cell: {' or '.join(values)}", added="0.2", stood_for=values[0])
    return _field(name, pa.int64(), "seed of the cell") if name == "seed" else _field(name, _TEXT, "component name")


_PROVENANCE = [
    _field("host", _TEXT, "host name of the worker"),
    _field("device", _TEXT, "device as torch names it"),
    _field("gpu", _TEXT, "id of the GPU the worker was pinned to; null without one", null=True),
    _field("worker", _TEXT, "worker that ran the shard: node and process"),
    _axis("seed"),
    _field("versions", _TEXT, "JSON: attackgrid, python, torch, ray and CUDA versions"),
    _field("run_id", _TEXT, "run that produced the shard"),
]
"""Where and with what a shard was made: on every row."""

SAMPLES = pa.schema(
    [
        _field("case_id", _TEXT, "id of the case"),
        _field("sample", pa.int64(), "index of the image in the evaluation split's fixed order"),
        _field("target", _I32, "class the attack aimed at; null if untargeted", null=True),
        _field("label", _I32, "true class"),
        _field("clean_pred", _I32, "class predicted on the clean image"),
        _field("adv_pred", _I32, "class predicted on the returned image; null if none came back", null=True),
        _field("clean_correct", pa.bool_(), "clean_pred = label"),
        _field("attacked", pa.bool_(), "false if not attacked: the cell misclassifies the clean image anyway"),
        _field("success", pa.bool_(), "the judge's adv_pred is not label (or is target), within eps; was not before"),
        _field("member", _I32, "which attack of a cascade succeeded, from 1; null if none, or no cascade", null=True),
        _field("clean_confidence", _F32, "probability of clean_pred on the clean image"),
        _field("adv_confidence", _F32, "probability of adv_pred on the returned image", null=True),
        _field("clean_margin", _F32, "score of label minus the best other score, clean image"),
        _field("adv_margin", _F32, "score of label minus the best other score, returned image", null=True),
        _field(
            "draws", _I32, "draws of the model in a vote that decides a prediction; null if it draws none", added="0.2"
        ),
        _field("clean_votes", _F32, "share of those draws that predict the label on the clean image", added="0.2"),
        _field("adv_votes", _F32, "share that predict the label on the returned image", added="0.2"),
        _field(
            "second_pred", _I32, "class that a second, independent vote predicts on the returned image", added="0.2"
        ),
        _field("second_votes", _F32, "share of its draws that predict the label", added="0.2"),
        _field("second_success", pa.bool_(), "success by the second vote; null where there is none", added="0.2"),
        _field("l0", _I32, "pixels that differ in any channel", null=True),
        _field("l0_values", _I32, "channel values that differ", null=True),
        _field("l1", _F32, "sum of absolute differences", null=True),
        _field("l2", _F32, "Euclidean distance", null=True),
        _field("linf", _F32, "largest absolute difference", null=True),
        _field("mse", _F32, "mean squared difference over all values", null=True),
        _field("relative_l2", _F32, "l2 over the clean image's own Euclidean norm", null=True),
        _field("relative_linf", _F32, "linf over the clean image's own largest absolute value", null=True),
        _field("centred_l2", _F32, "l2 over the norm of the clean image minus the dataset's mean", null=True),
        _field("centred_linf", _F32, "linf, likewise over its largest absolute value", null=True),
        _field("steps", _I32, "updates the attack made; null if not attacked", null=True),
        _field("forwards", _I32, "model evaluations the attack spent on this sample", null=True),
        _field("backwards", _I32, "gradient evaluations the attack spent on this sample", null=True),
        _field("seconds", _F32, "the shard's attack time divided by its attacked samples", null=True),
        *_PROVENANCE,
    ]
)
"""One row per (case, sample, target)."""

MEASURES = pa.schema(
    [
        _field("case_id", _TEXT, "id of the cell under the probe"),
        _field("sample", pa.int64(), "index of the image in the evaluation split's fixed order"),
        _field("label", _I32, "true class"),
        _field("epoch", _I32, "after which epoch of the training; null for the cell as it is kept", null=True),
        _field("layer", _TEXT, "where in the model; null for the model as a whole", null=True),
        _field("measure", _TEXT, "what was measured, in the probe's words"),
        _field("element", _I32, "which element of the image (a pixel); null if it is about the whole", null=True),
        _field("value", _F32, "the measurement; null where there is none", null=True),
        _field("seconds", _F32, "time of the probe divided by its samples"),
        *_PROVENANCE,
    ]
)
"""One row per (cell under a probe, sample, epoch, layer, measure, element)."""

HISTORY = pa.schema(
    [
        _field("epoch", _I32, "from 1"),
        _field("loss", pa.float64(), "mean training loss of the epoch"),
        _field("train_accuracy", pa.float64(), "share of training images predicted right, while training"),
        _field("validation_loss", pa.float64(), "mean loss of the head on the validation split", null=True),
        _field(
            "validation_objective",
            pa.float64(),
            "mean on the validation split of all that the training minimises, where that is watched and is more than "
            "validation_loss; else null",
            added="0.2",
        ),
        _field("validation_accuracy", pa.float64(), "on the validation split; null without one", null=True),
        _field("test_accuracy", pa.float64(), "on the test split; null if not measured", null=True),
        _field("lr", pa.float64(), "learning rate of the epoch"),
        _field("seconds", pa.float64(), "duration of the epoch"),
    ]
)
"""One row per epoch of a cell's training."""

WANTED = pa.schema(
    [
        _field("cell_id", _TEXT, "id of the cell"),
        _field(
            "case_id",
            _TEXT,
            "id of the case (attack or probe); null on the one row of a cell without any",
            null=True,
        ),
        *(_axis(name) for name in CELL_AXES),
        _field("probe", _TEXT, "component name; null for an attack", null=True),
        _field("attack", _TEXT, "component name; null for a probe", null=True),
        _field("norm", _TEXT, "norm of the budget", null=True),
        _field("eps", pa.float64(), "radius of the budget; null for minimal-norm attacks", null=True),
        _field("eps_label", _TEXT, "the eps as the spec spells it", null=True),
        _field("space", _TEXT, "units of eps and of every distance: pixel or standardised", null=True),
        _field("box", pa.bool_(), "whether pixels must stay in [0, 1]", null=True),
        _field(
            "source",
            _TEXT,
            "in what the cell that a transfer attack looks at differs; null if it is the cell",
            null=True,
        ),
        _field("source_cell_id", _TEXT, "id of that cell", null=True),
        _field("prepared_id", _TEXT, "id of what the attack's prepare step makes; null without one", null=True),
        _field("variant", _TEXT, "the label of the spec's block, such as published or corrected; may be empty"),
        *(
            _field(f"{axis}_label", _TEXT, f"{axis} in words: with the parameters that are not defaults")
            for axis in LABELLED_AXES
        ),
        _field("cell_label", _TEXT, "cell in words: components, with the parameters that are not defaults"),
        _field("attack_label", _TEXT, "attack in words, likewise", null=True),
        _field("probe_label", _TEXT, "probe in words, likewise", null=True),
        _field("asked", pa.bool_(), "false for a cell that no block asks for, but another cell needs"),
        _field("samples_wanted", pa.int64(), "how many samples the spec asks for; 0 without an attack or probe"),
        _field("cell_json", _TEXT, "the resolved cell: what cell_id is the hash of"),
        _field("attack_json", _TEXT, "the resolved attack, with its budget", null=True),
        _field("probe_json", _TEXT, "the resolved probe", null=True),
    ]
)
"""One row per case, of an attack or a probe, that a grid asks for (and one per cell without any).

It lies in `grids/<name>/wanted.parquet`.
"""

PUBLISHED = pa.schema(
    [
        _field("case_id", _TEXT, "case that the value is about"),
        _field("cell_id", _TEXT, "its cell"),
        _field("metric", _TEXT, "what was measured: a metric of grid.questions"),
        _field("value", pa.float64(), "as published, in the unit of the metric"),
        _field("source", _TEXT, "table or page of the study"),
        _field("note", _TEXT, "what the reader should know of it; may be empty"),
        _field("n", pa.int64(), "how many test images it is over; null where nobody knows", added="0.2"),
        _field("over", _TEXT, "the axis that it is a mean over: seed; null for one cell's", added="0.2"),
    ]
)
"""One row per published value and case it is about: `grids/<name>/published.parquet`."""
