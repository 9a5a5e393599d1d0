"""Tables as text: literals in, literals out."""

import csv
import io
import json
import math
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from grid.errors import UsageError
from grid.questions import FORMATS
from grid.results.tables import render


def lines(table, form="text", **words):
    return render(table, form, **words).split("\n")


RESULTS = pa.table(
    {
        "head": ["softmax", "softmax", "softrmax"],
        "seed": [0, 0, 0],
        "attack": ["none", "fgsm", "fgsm"],
        "space": pa.array([None, "pixel", "pixel"]),
        "accuracy": pa.array([0.931, 0.0, None], pa.float64()),
        "accuracy_low": pa.array([0.912, 0.0, None], pa.float64()),
        "accuracy_high": pa.array([0.946, 0.008, None], pa.float64()),
        "n": [500, 500, 0],
        "samples_stored": [500, 500, 0],
        "samples_wanted": [500, 500, 500],
        "complete": [True, True, False],
    }
)


def test_a_report_is_aligned_and_explains_itself():
    assert render(RESULTS, "text", title="robust_accuracy", grid="quickstart") == (
        "robust accuracy · grid quickstart\n"
        "seed 0, space pixel\n"
        "\n"
        "head      attack         accuracy %    n  samples\n"
        "--------  ------  -----------------  ---  -------\n"
        "softmax   none    93.1 [91.2, 94.6]  500  500/500\n"
        "softmax   fgsm       0.0 [0.0, 0.8]  500  500/500\n"
        "softrmax  fgsm                    —    0    0/500\n"
        "\n"
        "accuracy: share of all n samples that are classified right under the attack (none: clean); "
        "[low, high]: 95 % interval; —: no value yet, or none that applies"
    )


def test_a_table_without_title_keeps_its_names_and_every_column():
    assert lines(RESULTS)[0].split() == RESULTS.column_names


def test_markdown_says_the_same():
    assert render(RESULTS.slice(1, 1), "markdown", title="robust_accuracy") == (
        "**robust accuracy**\n\nseed 0, space pixel\n\n"
        "| head | attack | accuracy % | n | samples |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
        "| softmax | fgsm | 0.0 [0.0, 0.8] | 500 | 500/500 |\n\n"
        "accuracy: share of all n samples that are classified right under the attack (none: clean); "
        "[low, high]: 95 % interval"
    )


def test_latex_is_a_booktabs_table():
    assert render(RESULTS.slice(2, 1), "latex", title="robust_accuracy") == (
        "\\begin{table}\n"
        "  \\centering\n"
        "  \\caption{robust accuracy. seed 0, space pixel. accuracy: share of all n samples that are classified right "
        "under the attack (none: clean); ---: no value yet, or none that applies.}\n"
        "  \\begin{tabular}{llrrr}\n"
        "    \\toprule\n"
        "    head & attack & accuracy \\% & n & samples \\\\\n"
        "    \\midrule\n"
        "    softrmax & fgsm & --- & 0 & 0/500 \\\\\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}"
    )


def test_latex_without_title_is_a_tabular_alone():
    assert render(pa.table({"a": [1]}), "latex").startswith("  \\begin{tabular}{r}\n")


def test_csv_and_json_are_exact_and_hold_every_column():
    read = list(csv.DictReader(io.StringIO(render(RESULTS, "csv", title="robust_accuracy"))))
    assert list(read[0]) == RESULTS.column_names
    assert [row["accuracy"] for row in read] == ["0.931", "0.0", ""]
    assert [row["complete"] for row in read] == ["true", "true", "false"]
    assert json.loads(render(RESULTS, "json", title="robust_accuracy")) == RESULTS.to_pylist()


def test_numbers_survive_csv_and_json_to_the_last_digit():
    values = [0.1 + 0.2, 1e-300, math.pi * 1e9]
    table = pa.table({"x": values})
    assert [float(row["x"]) for row in csv.DictReader(io.StringIO(render(table, "csv")))] == values
    assert [row["x"] for row in json.loads(render(table, "json"))] == values


def test_what_json_cannot_say_becomes_null_a_number_or_a_text():
    table = pa.table(
        {
            "odd": [math.nan, math.inf],
            "sum": [Decimal(3), Decimal("2.5")],
            "parts": [[1.0, math.nan], []],
            "time": [datetime(2026, 1, 1, tzinfo=UTC)] * 2,
        }
    )
    first, second = json.loads(render(table, "json"))
    assert first == {"odd": None, "sum": 3, "parts": [1.0, None], "time": "2026-01-01 00:00:00+00:00"}
    assert (second["odd"], second["sum"]) == (None, 2.5)
    assert "nan,3," in render(table, "csv")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-05"),
        (0.00012345, "0.0001234"),
        (1.23456, "1.235"),
        (12345.678, "12346"),
        (-2.0, "-2"),
        (0.0, "0"),
        (1e20, "1e+20"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (None, "—"),
    ],
)
def test_a_number_has_four_significant_digits(value, text):
    assert lines(pa.table({"mse": pa.array([value], pa.float64())}))[2].strip() == text


def test_rates_have_a_second_decimal_where_one_does_not_say_them():
    assert lines(pa.table({"accuracy": [0.9917, 0.5]}), title="t")[4:] == ["     99.17", "     50.00"]
    rounded = pa.table({"accuracy": pa.array([0.9, 0.5], pa.float32())})
    assert lines(rounded, title="t")[4:] == ["      90.0", "      50.0"]


def test_only_shares_are_read_as_per_cent():
    shares = lines(pa.table({"test_accuracy": [0.5]}), title="t")
    assert shares[2:] == ["test accuracy %", "---------------", "           50.0"]
    assert lines(pa.table({"accuracy": [97.5]}), title="t")[2:] == ["accuracy", "--------", "    97.5"]


def test_the_metric_of_a_row_says_the_unit_of_what_stands_beside_it():
    table = pa.table(
        {
            "metric": ["clean_accuracy", "mean_l2"],
            "published": [0.97, 1.5],
            "as_published": [0.968, None],
            "as_published_low": [0.96, None],
            "as_published_high": [0.975, None],
            "as_published_n": [1000, 0],
            "measured": pa.array([None, None], pa.float64()),
            "measured_low": pa.array([None, None], pa.float64()),
            "measured_high": pa.array([None, None], pa.float64()),
            "measured_n": pa.array([None, None], pa.int64()),
            "note": ["", ""],
        }
    )
    assert lines(table, title="published")[2:6] == [
        "metric            published       as published     n",
        "----------------  ---------  -----------------  ----",
        "clean accuracy %       97.0  96.8 [96.0, 97.5]  1000",
        "mean l2                 1.5                  —     0",
    ]


def test_a_table_of_measures_reads_row_by_row():
    table = pa.table(
        {
            "attack": ["deepfool"] * 3,
            "norm": ["l2"] * 3,
            "measure": ["l2", "relative l2", "steps"],
            "mean": [0.56431, 0.14671, 4.5283],
            "mean_low": [0.54138, 0.14068, None],
            "mean_high": [0.58731, 0.15272, None],
            "median": [0.57421, 0.14889, 5.0],
            "success_rate": [0.92] * 3,
            "success_rate_low": [0.8, 0.8, 0.8],
            "success_rate_high": [0.97, 0.97, 0.97],
            "n_attacked": [25] * 3,
        }
    )
    assert lines(table, title="minimal_norm")[:8] == [
        "minimal norm",
        "norm l2",
        "",
        "attack    measure            mean of successes  median of successes     success rate %  n attacked",
        "--------  -----------  -----------------------  -------------------  -----------------  ----------",
        "deepfool  l2           0.5643 [0.5414, 0.5873]               0.5742  92.0 [80.0, 97.0]          25",
        "deepfool  relative l2  0.1467 [0.1407, 0.1527]               0.1489  92.0 [80.0, 97.0]          25",
        "deepfool  steps                          4.528                    5  92.0 [80.0, 97.0]          25",
    ]


def test_a_table_without_any_result_still_shows_what_it_is_about():
    empty = RESULTS.slice(2, 1)
    assert "accuracy" in lines(empty, title="robust_accuracy")[3]
    assert "0/500" in render(empty, "text", title="robust_accuracy")


def test_columns_that_differ_stay_and_those_without_value_go():
    table = pa.table({"seed": [0, 1], "variant": ["", "corrected"], "cell": pa.array([None, None], pa.string())})
    assert lines(table, title="t")[2].split() == ["seed", "variant"]


def test_an_empty_variant_is_not_worth_a_caption():
    assert lines(pa.table({"head": ["a", "b"], "variant": ["", ""]}), title="t")[:3] == ["t", "", "head"]


def test_an_interval_is_left_out_where_there_is_none():
    table = pa.table({"mean_l2": [4.0], "mean_l2_low": pa.array([None], pa.float64()), "mean_l2_high": [None]})
    table = table.cast(pa.schema([(name, pa.float64()) for name in table.column_names]))
    assert lines(table, title="t")[4].strip() == "4"


def test_a_bound_without_its_value_is_a_column_of_its_own():
    assert lines(pa.table({"x_low": [1.5], "x_high": [2.5]}))[0].split() == ["x_low", "x_high"]


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_no_rows_make_a_table_with_its_headings(form):
    assert "head" in render(RESULTS.slice(0, 0), form, title="robust_accuracy")


def test_no_rows_are_said_in_text_and_are_an_empty_list_in_json():
    assert lines(RESULTS.slice(0, 0))[-1] == "(no rows)"
    assert render(RESULTS.slice(0, 0), "json") == "[]"
    assert render(RESULTS.slice(0, 0), "csv") == ",".join(RESULTS.column_names)


def test_signs_of_markdown_and_latex_are_escaped():
    table = pa.table({"attack_label": ["a|b_c & 50% <x> {y} \\ ~ ^ # $"]})
    assert render(table, "markdown").split("\n")[2] == "| a\\|b_c & 50% &lt;x> {y} \\\\ ~ ^ # $ |"
    assert lines(table, "latex")[4] == (
        r"    a\textbar{}b\_c \& 50\% \textless{}x\textgreater{} \{y\} \textbackslash{} "
        r"\textasciitilde{} \textasciicircum{} \# \$ \\"
    )
    assert r"attack\_label" in render(table, "latex")


def test_a_latex_row_that_starts_with_a_bracket_is_not_an_argument():
    assert r"    {}[1, 2] & x \\" in lines(pa.table({"hidden": ["[1, 2]"], "b": ["x"]}), "latex")


def test_a_cell_of_several_lines_keeps_them():
    table = pa.table({"traceback": ["one\n  two"], "n": [1]})
    assert lines(table)[2:] == ["one        1", "  two"]
    assert "| one<br>  two | 1 |" in render(table, "markdown")


def test_control_characters_reach_no_terminal():
    assert "\x1b" not in render(pa.table({"message": ["\x1b[31mred\x07"]}), "text")


def test_booleans_and_lists_read_as_words():
    assert lines(pa.table({"trained": [True, False], "parts": [[1, 2], []]}))[2:] == ["yes      [1, 2]", "no       []"]


def test_a_column_called_complete_stands_where_no_counts_say_it():
    assert lines(pa.table({"case_id": ["a", "b"], "complete": [True, False]}))[2:] == ["a        yes", "b        no"]


def test_an_unknown_format_is_named_with_those_there_are():
    with pytest.raises(UsageError, match="unknown format 'xml'"):
        render(RESULTS, "xml")


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_ends_with_a_newline(form):
    assert not render(RESULTS, form, title="robust_accuracy").endswith("\n")
