"""What may be asked of results: the tables, the views, the formats of answers, the metrics of published values.

Ground: imports nothing of grid. Each table is answered by the file of its name in `grid/results/sql`.
"""

TABLES = (
    *("robust_accuracy", "minimal_norm", "worst_case", "security_curve", "fooling", "transfer", "published"),
    *("measures", "measures_by_class", "correlation", "histogram", "certified", "history"),
)
"""The names of the tables that a spec may ask for."""

VIEWS = (
    *("cells", "history", "trainings", "cases", "samples", "measures", "prepared", "coverage", "failures", "runs"),
    *("wanted", "published", "comparisons"),
)
"""The views that a user's own SQL may ask: `views.sql` and `comparisons.sql` say what each holds."""

FORMATS = ("text", "markdown", "csv", "latex", "json")
"""What an answer can be written as: for reading, or (csv, json) for machines."""

METRICS = (
    "clean_accuracy",
    "robust_accuracy",
    "class_accuracy",
    "success_rate",
    "mean_l2",
    "mean_linf",
    "mean_mse",
    "mean_relative_l2",
    "mean_steps",
    "fooling_rate",
    "fit_fooling_rate",
    "fit_passes",
    "confidence_fooled",
    "delta_l2",
    "delta_linf",
    "delta_mse",
    "rho_l2",
    "rho_linf",
    "centred_rho_l2",
    "centred_rho_linf",
    "median_l0",
    "median_l0_values",
    "steps",
    "seconds",
)
"""What can be compared with a published value. Rates are shares (0.97, not 97).

`class_accuracy` is the mean over the true classes of the share of (sample, target) still predicted as the label.
`mean_*` and `median_*` are over the successful samples, `delta_*` and `rho_*` (mean distance, and mean relative
distance; centred: relative to the image minus the dataset's mean), `steps` and `seconds` over all attacked ones.
`fooling_rate` is the share of the attacked whose prediction changed, `confidence_fooled` the mean confidence of those,
`fit_*` what the prepare step says of the images it was fitted to.
"""


def is_rate(name: str) -> bool:
    """Whether a metric or a column of a table is a share between 0 and 1."""
    return name == "accuracy" or name.endswith(("_accuracy", "_rate"))
