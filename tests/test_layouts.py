"""Tables as a spec lays them out, tables of one's own, and text that fits a terminal."""

import csv
import io
import json

import pyarrow as pa
import pytest
from grids import answered, call, write_spec
from test_tables import RESULTS

from grid.errors import SpecError, UsageError
from grid.plan.asked import TableAsked
from grid.plan.expand import expand
from grid.plan.wanted import Tables
from grid.results.asked import check_tables
from grid.results.shape import shaped
from grid.results.tables import render
from grid.spec.read import load_spec
from grid.store.store import Store

SQL = "-- a table of one's own\nselect head, count(*) as n from cases where $grid = 'toy' group by head\n"
ACTIVATION = ["relu", {"sigmoid": {"temperature": {"each": ["1/4", 4]}}}]


def spec_of(folder, tables, **changes):
    cells = [{"dataset": "digits", "architecture": {"mlp": {"hidden": [8]}}, "activation": ACTIVATION}]
    return write_spec(folder, cells=cells, seeds=[0, 1], attacks=[{"fgsm": {"eps": "8/255"}}], tables=tables, **changes)


def stored(path, folder):
    """A store that wants what a spec asks for, and has nothing of it."""
    spec, store, tables = load_spec(path), Store(str(folder / "store")), Tables()
    list(tables.watched(expand(spec)))
    store.create()
    store.grids.save(spec.name, spec.document, tables.wanted(), tables.published(spec.published))
    return store.location


def problems_of(path):
    with pytest.raises(SpecError) as refused:
        check_tables(load_spec(path))
    return [str(problem) for problem in refused.value.problems]


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    (folder / "mine.sql").write_text(SQL)
    tables = [
        "mine.sql",
        {"robust_accuracy": {"over": "seed", "columns": ["temperature", "attack", "eps"], "sort": "-temperature"}},
        {"robust_accuracy": {"pivot": ["seed", "attack"], "columns": ["activation", "temperature", "accuracy"]}},
    ]
    location = stored(spec_of(folder, tables), folder)
    (folder / "mine.sql").unlink()
    return location


@pytest.fixture(scope="module")
def tables(location):
    """What `table` answers of the spec's tables: its own, then two that are laid out."""
    return [each["rows"] for each in json.loads(call("table", location, "--json").stdout)["tables"]]


def test_a_file_of_sql_is_stored_with_the_grid_and_is_asked_from_the_store_alone(location, tables):
    assert tables[0] == answered(call("table", location, "mine", "--json")) == [{"head": "softmax", "n": 6}]


def test_a_file_of_sql_can_be_asked_of_any_store_and_only_reads(location, tmp_path):
    (tmp_path / "other.sql").write_text("select count(*) as n from cells")
    assert answered(call("table", location, tmp_path / "other.sql", "--json")) == [{"n": 6}]
    for text, said in (
        ("drop view cells", "only statements that read"),
        ("select 1; select 2", "one SQL statement at a time"),
        ("select $store", r"$store is not given, only $grid"),
        ("select nothing from cells", "nothing"),
    ):
        (tmp_path / "other.sql").write_text(text)
        refused = call("table", location, tmp_path / "other.sql")
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr
    missing = call("table", location, tmp_path / "missing.sql")
    assert (missing.exit_code, "missing.sql" in missing.stderr) == (2, True)


def test_a_spec_chooses_columns_their_order_and_that_of_the_lines(tables):
    lines = tables[1]
    assert list(lines[0]) == ["temperature", "attack", "eps", "eps_label", "over", "complete"]
    assert [line["temperature"] for line in lines] == [4.0, 4.0, 0.25, 0.25, None, None]


def test_the_values_of_an_axis_become_columns(tables):
    lines = tables[2]
    assert [(line["activation"], line["temperature"]) for line in lines] == [
        *(("relu", None), ("sigmoid", 0.25), ("sigmoid", 4.0))
    ]
    names = [name for name in lines[0] if name.endswith("_accuracy")]
    assert names == [f"seed={seed} {attack}_accuracy" for seed in (0, 1) for attack in ("none", "fgsm")]
    assert {line["complete"] for line in lines} == {False}


def test_columns_of_an_attack_say_its_budget_where_budgets_differ():
    rows = pa.table(
        {"head": ["a"] * 3, "attack": ["none", "fgsm", "fgsm"], "norm": pa.array([None, "linf", "linf"])}
        | {"eps": pa.array([None, 0.1, 0.2]), "eps_label": pa.array([None, "1/10", "1/5"])}
        | {"accuracy": [0.9, 0.5, 0.25], "accuracy_low": [0.8, 0.4, 0.2], "n": [5, 5, 5], "complete": [True] * 3}
    )
    (line,) = shaped(rows, TableAsked("t", pivot=("attack",))).to_pylist()
    assert line == {
        "head": "a",
        "norm": "linf",
        "none_accuracy": 0.9,
        "none_accuracy_low": 0.8,
        "complete": True,
        "fgsm eps=1/10_accuracy": 0.5,
        "fgsm eps=1/10_accuracy_low": 0.4,
        "fgsm eps=1/5_accuracy": 0.25,
        "fgsm eps=1/5_accuracy_low": 0.2,
    }
    with pytest.raises(UsageError, match="several lines have no eps"):
        shaped(pa.concat_tables([rows, rows]), TableAsked("t", pivot=("eps",)))


def test_lines_are_sorted_by_numbers_and_what_is_absent_comes_last():
    rows = pa.table({"eps": [0.2, None, 0.1, 0.03]})
    for key, order in (("eps", [0.03, 0.1, 0.2, None]), ("-eps", [0.2, 0.1, 0.03, None])):
        assert shaped(rows, TableAsked("t", sort=(key,)))["eps"].to_pylist() == order


def test_check_names_the_line_and_what_was_meant(tmp_path):
    path = spec_of(tmp_path, [])
    path.write_text(
        path.read_text().replace("tables: []", "tables:\n")
        + "- robust_accuracy: {pivot: atack, columns: [acuracy, temperature, activation.temperature]}\n"
        + "- worst_case: {over: [sed], sort: -esp}\n- histogram: {over: seed}\n- mine: {sql: 'select hed from cells'}\n"
    )
    text = path.read_text().split("\n")
    first = next(number for number, line in enumerate(text, 1) if "pivot: atack" in line)
    found = problems_of(path)
    expected = [
        (0, "robust_accuracy.columns: unknown column 'acuracy'. Did you mean 'accuracy'?"),
        (0, "robust_accuracy.pivot: unknown column 'atack'. Did you mean 'attack'?"),
        (1, "worst_case.over: unknown axis 'sed'. Did you mean 'seed'?"),
        (1, "worst_case.sort: unknown column 'esp'. Did you mean 'eps'?"),
        (2, "histogram.over: histogram cannot be averaged"),
        (3, "mine.sql: SQL: "),
    ]
    assert len(found) == len(expected)
    for problem, (number, said) in zip(found, expected, strict=True):
        assert problem.startswith(f"line {first + number}, tables.{number}.{said}")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"robust": {}}, "tables.0.robust: unknown table 'robust'"),
        ({"robust_accuracy": {"pviot": "eps"}}, "unknown key 'pviot'. Did you mean 'pivot'?"),
        ({"robust_accuracy": {"sort": [3]}}, "must be a name, or a list of names"),
        ({"robust_accuracy": {}, "fooling": {}}, "must be one table"),
        ({"mine": {"sql": "select 1", "over": "seed"}}, "cannot be said of a table of your own"),
        ({"fooling": {"sql": "select 1"}}, "has the name of a table there is"),
        ("missing.sql", "cannot read"),
    ],
)
def test_what_a_table_cannot_be_is_refused(table, said, tmp_path):
    with pytest.raises(SpecError) as refused:
        load_spec(spec_of(tmp_path, [table]))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"robust_accuracy": {"over": "accuracy"}}, "unknown axis 'accuracy'"),
        ({"robust_accuracy": {"over": "n"}}, "unknown axis 'n'"),
        ({"published": {"over": "eps"}}, "unknown axis 'eps'. Known: seed"),
        ({"robust_accuracy": {"over": "seed", "sort": "seed"}}, "unknown column 'seed'"),
        ({"robust_accuracy": {"over": "seed", "sort": "-accuracy_sd"}}, None),
        ({"robust_accuracy": {"over": ["eps", "activation.temperature"]}}, None),
    ],
)
def test_check_knows_what_a_table_can_be_averaged_over_and_has_then(table, said, tmp_path):
    path = spec_of(tmp_path, [table])
    if said:
        assert said in problems_of(path)[0]
    else:
        check_tables(load_spec(path))


def test_a_profile_may_leave_a_column_whose_parameter_no_longer_varies(tmp_path):
    tables = [{"robust_accuracy": {"columns": ["temperature", "accuracy"]}}]
    path = spec_of(
        tmp_path, tables, profiles={"one": {"cells.*.activation": ["relu", {"sigmoid": {"temperature": 4}}]}}
    )
    check_tables(load_spec(path, profile="one"))


# Text that fits


WIDE = RESULTS.append_column("attack_label", pa.array(["pgd(steps=50, restarts=5, loss=dlr)"] * 2 + ["none"]))


def longest(text):
    return max(map(len, text.split("\n")))


@pytest.mark.parametrize("width", [40, 50, 60, 80, 120])
def test_a_table_fits_the_width_and_loses_nothing_in_silence(width):
    text = render(WIDE, "text", title="robust_accuracy", grid="quickstart", width=width)
    assert longest(text) <= width
    for cell in ("93.1", "[91.2, 94.6]", "softrmax", "fgsm", "restarts=5", "loss=dlr"):
        assert cell in text
    for heading in ("n", "samples"):
        assert heading in text.partition("accuracy: share")[0].split() or f"left out to fit: {heading}" in text


def test_columns_without_room_stand_below_by_the_number_of_their_line():
    text = render(WIDE, "text", title="robust_accuracy", width=40)
    assert text.count("\n#  ") == 2
    assert [line[:1] for line in text.split("\n") if line[:1].isdigit()] == ["1", "2", "3"] * 2


def test_what_says_the_same_in_each_row_is_named_once_where_room_is_short():
    rows = pa.table({"attack": ["a"] * 2, "note": ["the same in both rows"] * 2, "accuracy": [0.5, 0.25]})
    text = render(rows, "text", title="t", width=30)
    assert "attack a, note the same in" in text
    assert longest(text) <= 30


def test_only_a_terminal_has_a_width():
    assert longest(render(WIDE, "text", title="robust_accuracy")) > 80


def test_counts_can_be_spared_only_where_all_is_there():
    """How much is there has to be said where it is not all."""
    counts = {name: pa.array([500, 499, 498]) for name in ("n", "samples_stored", "samples_wanted")}
    rows = pa.table({"attack": ["a", "b", "c"], "accuracy": [0.5, 0.25, 0.125], **counts, "complete": [True] * 3})
    partial = rows.set_column(5, "complete", pa.array([True, True, False]))
    for table, left_out in ((rows, "n, samples"), (partial, "n")):
        text = render(table, "text", title="t", width=26 if table is partial else 20)
        assert f"left out to fit: {left_out};" in " ".join(text.split("\n"))


def test_a_machine_reads_each_column_with_its_own_name(location, tables):
    assert {line["eps"] for line in tables[1]} == {None, 8 / 255}
    text = call("table", location, "robust_accuracy", "--format", "csv").stdout
    assert {row["eps"] for row in csv.DictReader(io.StringIO(text))} == {"", repr(8 / 255)}
