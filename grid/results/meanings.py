"""What the numbers of a report are, in words: those of each table, and those of a mean over lines."""

from collections.abc import Sequence

import pyarrow as pa

from grid.results.columns import ABSENT

HEADINGS = {
    "minimal_norm": {"mean": "mean of successes", "median": "median of successes", "median_all": "median of all"},
}
"""What a column of a report is headed, by its title, where the name says too little."""

MEANINGS = {
    "robust_accuracy": "accuracy: share of all n samples that are classified right under the attack (none: clean)",
    "minimal_norm": "success rate: share of attacked samples; median of all: a failure is infinitely far (inf: more "
    "than half fail); targets: over each, or for each sample the best",
    "fooling": "fooling rate: share of attacked samples whose prediction changed; confidence: of those; delta, rho, "
    "l2, steps and seconds: means over all attacked; pixels, values: medians of what changed in those fooled; "
    "targets: over each, or for each sample the best",
    "transfer": "fooling rate: share of attacked samples whose prediction changed; source: the cell the attack saw",
    "worst_case": "accuracy: share of samples of which no attack found an image within eps; decided by: how many fell "
    "to which attack; vote: which decided on the worst image, where the model draws",
    "security_curve": "accuracy: share of samples of which no attack found an image within eps; its interval is a band "
    "for all eps of a curve at once (Dvoretzky, Kiefer, Wolfowitz)",
    "measures": "mean, median, sd (of a sample), min and max over the n images that have a value; absent: have none",
    "measures_by_class": f"label {ABSENT}: all classes, the unweighted mean of their means; the median of all images",
    "correlation": "correlation (Pearson) of mean abs gradient and true class confidence over n images; p: two-sided, "
    f"Student's t; label {ABSENT}: all classes",
    "histogram": "share: of all images, or of those classified right; a bin holds its lower edge",
    "certified": "certified accuracy: share of all n images whose certified class is right, at no less than the radius "
    "(l2); abstention rate: share without a certificate",
    "history": "loss and train accuracy: of the batches as they were trained on",
    "published": "agree: one number lies in the other's interval; differ: outside both; published interval: of so many "
    "images as the study says, or the test split has; n: all samples (accuracies), attacked ones (rates, delta, rho, "
    "steps), successful ones (means)",
}
"""What the numbers of a report are, by its title."""


def meaning_of_mean(table: pa.Table) -> str:
    """What the intervals of a mean over lines are."""
    axis = axis_of(table)
    which = "" if "over" in table.column_names and not table["over"].null_count else f" where {axis} is said"
    return axis and (
        f"mean over {axis}{which}: the first interval is about other samples, that headed over {axis} about others of "
        f"these {lines_of(table)} (Student's t; one alone has none); sd, range: of the {lines_of(table)}; counts: sums"
    )


def lines_of(table: pa.Table) -> str:
    """What the lines are that a mean is over."""
    return "seeds" if axis_of(table) == "seed" else "lines"


def axis_of(table: pa.Table) -> str:
    """What the means of a table are over; nothing where it has none."""
    axes = table["over"].to_pylist() if "over" in table.column_names else []
    return next(filter(None, axes), "").replace("_", " ")


def column_of_n(names: Sequence[str]) -> str:
    """The column that says over how many lines a mean is, where all of them are over as many."""
    return "over_stored" if "over_stored" in names else next(name for name in names if name.endswith("_over_n"))
