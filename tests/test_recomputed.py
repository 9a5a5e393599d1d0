"""Every table of attacks is what plain Python makes of the same rows, of a launched grid and of made-up ones."""

import random

import pyarrow as pa
import pytest
from grids import launch, write_spec
from recomputed import Grid
from recomputed_attacks import LINES, compare
from test_query import sample_row, wanted_row, written

from grid.results import contents as reading
from grid.results.views import Contents, Slice, connect
from grid.store.store import Store
from tasks.schema import SAMPLES, WANTED

GRID = "toy"
ATTACKS = [
    {"fgsm": {"eps": 0.2}},
    {"fgsm": {"eps": {"each": [0.1, 0.2]}, "targets": [3, 5]}},
    {"pgd": {"eps": 0.1, "steps": 3, "source": {"defense": "natural"}, "samples": 8}},
    {"cascade": True, "name": "both", "eps": 0.2, "attacks": ["fgsm", {"pgd": {"steps": 2}}]},
    "deepfool",
    {"deepfool": {"targets": [3, 5], "steps": 10}},
    {"cw": {"steps": 5, "search_steps": 1, "samples": 8}},
]


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launched")
    cell = {"dataset": "digits", "architecture": {"mlp": {"hidden": [8]}}, "training": {"epochs": 3, "batch_size": 64}}
    cell["defense"] = ["natural", {"randomised_smoothing": {"sigma": 0.3}}]
    attacks = [*ATTACKS, {"fgsm": {"eps": 0.1, "draws": {"each": [1, 3]}}}]
    spec = write_spec(folder, samples={"count": 16}, cells=[cell], attacks=attacks)
    result = launch(spec, folder / "store", "--shard-size", 9)
    assert result.exit_code == 0, result.output
    return folder / "store"


@pytest.fixture(scope="module")
def of_launched(launched):
    grid = Grid.stored(launched, GRID)
    with reading.connect(Store(str(launched)), lambda path, reason: pytest.fail(f"{path}: {reason}")) as con:
        yield con, grid


@pytest.mark.parametrize("table", LINES)
def test_a_table_of_a_launched_grid_is_what_python_makes_of_its_rows(of_launched, table):
    lines = compare(*of_launched, table, GRID)
    assert lines
    assert any(row["draws"] == 10 for row in lines)
    assert all(row["complete"] for row in lines)


# Made-up stores


EPS = (0.1, 0.2, 0.4)


def made_up(folder, seed):
    """Cells that draw or not, attacks that hit at random, some of whose rows are missing, some with targets."""
    draw = random.Random(seed)
    wanted, shards = [], {}
    for cell, draws in (("c", 1), ("d", draw.choice([1, 3, 10]))):
        drawing = cell == "d"
        clean = {sample: round(draw.random() * draws) / draws for sample in range(12)}
        for number in range(6):
            case, norm = f"{cell}{number}", draw.choice(["linf", "l2"])
            eps = draw.choice([*EPS, None])
            targets = draw.choice(["null", "null", "[0, 2]"])
            text = f'{{"draws": {draws if drawing else 1}, "then": [], "targets": {targets}}}'
            spelt = {"eps": eps, "eps_label": None if eps is None else str(eps), "norm": norm}
            label = f"attack{number}" + ("" if eps is None else f"(eps={eps})")
            more = {"head": cell, "attack_label": label, "attack_json": text, "variant": draw.choice(["", "published"])}
            wanted.append(wanted_row(cell, case, f"attack{number}", samples=draw.choice([8, 12]), **spelt, **more))
            shards[case] = [
                row_of(draw, case, sample, target, clean[sample], draws if drawing else None, eps, norm)
                for sample in range(draw.choice([0, 8, 12]))
                for target in ((None,) if targets == "null" else (0, 2))
            ]
    slices = [
        Slice(case, written(folder / f"{case}.parquet", rows, SAMPLES), 0, 0, len({r["sample"] for r in rows}),
              len({r["target"] for r in rows}))
        for case, rows in shards.items() if rows
    ]  # fmt: skip
    contents = Contents(wanted=[(GRID, written(folder / "wanted.parquet", wanted, WANTED))], slices=slices)
    limits = {case: len({row["sample"] for row in rows}) for case, rows in shards.items()}

    def rows(case, limit):
        stored = pa.Table.from_pylist(shards[case], schema=SAMPLES).to_pylist()
        return [row | {"position": row["sample"]} for row in stored if row["sample"] < min(limit, limits[case])]

    return contents, Grid({row["case_id"]: row for row in wanted}, rows)


def row_of(draw, case, sample, target, clean, draws, eps, norm):
    right = clean >= 0.5 if draws else sample % 5 > 0
    far = draw.choice([None, 0.05, 0.11, 0.3]) if eps is None else draw.choice([eps, eps / 2])
    success = right and far is not None and draw.random() < 0.4
    votes = round(draw.random() * draws) / draws if draws and right and far else None
    second = votes is not None and draw.random() < 0.5
    voted = {} if votes is None else {
        "adv_votes": votes, "second_votes": votes / 2, "second_success": second, "second_pred": 2 if second else 1,
    }  # fmt: skip
    drawn = {"draws": draws, "clean_votes": clean} if draws else {}
    distances = (
        {}
        if far is None or not right
        else {"l0": 3, "linf": far, "l1": 9 * far, "l2": 2 * far, norm: far, "mse": far, "relative_l2": far}
    )
    cost = {"steps": draw.choice([1, 2]), "adv_pred": 2 if success else 1, "adv_confidence": draw.random()}
    return sample_row(
        case, sample, right, success, target=target, **voted, **drawn, **distances, **cost if right else {}
    )


@pytest.fixture(scope="module", params=range(3))
def of_made_up(request, tmp_path_factory):
    contents, grid = made_up(tmp_path_factory.mktemp("made_up"), request.param)
    with connect(contents) as con:
        yield con, grid


@pytest.mark.parametrize("table", [name for name in LINES if name != "transfer"])
def test_a_table_of_a_made_up_store_is_what_python_makes_of_its_rows_and_never_rises_with_eps(of_made_up, table):
    lines = compare(*of_made_up, table, GRID)
    at_smaller = {}
    for row in lines if table in {"worst_case", "security_curve"} else ():
        curve = tuple(row[name] for name in ("head", "norm", "space", "box", "draws", "n"))
        if row["n"]:
            assert row["accuracy"] <= at_smaller.get(curve, 1)
            at_smaller[curve] = row["accuracy"]
