"""What a spec comes to, as lists: its cells, its cases, and its published values with the cases they are about."""

from grid.plan.expand import expand
from grid.plan.labels import cell_columns, source_label, under_columns


def cells(spec):
    return [wanted.cell for wanted in expand(spec)]


def asked_cells(spec):
    return [wanted.cell for wanted in expand(spec) if wanted.asked]


def needed_cells(spec):
    return [wanted.cell for wanted in expand(spec) if not wanted.asked]


def cases(spec):
    return [case for wanted in expand(spec) for case in wanted.cases()]


def published_cases(spec):
    return [(spec.published[number], wanted) for wanted in cases(spec) for number in wanted.published]


def axes(case):
    """The columns that say what a case is."""
    source = case.source
    return {
        **cell_columns(case.cell),
        **under_columns(case.under, source_label(case.cell, source) if source else None),
        "source_cell_id": source.id if source else None,
    }
