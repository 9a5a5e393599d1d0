"""The tables of attacks, recomputed: {what a line is about: its numbers}, as `LINES` names the columns of each."""

import json
from collections import defaultdict

import pytest
from recomputed import (
    ABOUT,
    INFINITE,
    about,
    attack_of,
    by,
    chance,
    clustered_mean,
    clustered_share,
    confirmed,
    counts,
    last,
    mean,
    median,
    voted,
    without,
)
from recomputed_eps import security_curve, worst_case

from grid.results.query import query

MEASURES = ("l0", "l1", "l2", "linf", "relative l2", "mse", "steps")
COUNTS = ("samples_stored", "samples_wanted", "complete")


def rated(*names):
    """The columns of values that have an interval."""
    return [column for name in names for column in (name, f"{name}_low", f"{name}_high")]


LINES = {
    "robust_accuracy": (("attack", "eps", "draws"), (*rated("accuracy"), "n", *COUNTS)),
    "worst_case": (
        ("norm", "eps", "space", "box", "draws"),
        (*rated("accuracy"), "n", "attacks", "vote", "decided_by", "limited_by", *COUNTS),
    ),
    "security_curve": (("norm", "space", "box", "draws", "eps"), (*rated("accuracy"), "n", "attacks", *COUNTS)),
    "minimal_norm": (
        ("attack", "space", "box", "draws", "targets", "measure"),
        (*rated("mean", "success_rate"), "median", "median_all", "n_attacked", "n_success", *COUNTS),
    ),
    "fooling": (
        ("attack", "eps", "draws", "targets"),
        (*rated("fooling_rate", "confidence", "delta"), "delta_median", "rho", "l2", "pixels", "values", "steps",
         "seconds", "n_attacked", *COUNTS),
    ),
    "transfer": (("source", "attack", "eps", "draws"), (*rated("fooling_rate", "success_rate"), "n_attacked", *COUNTS)),
}  # fmt: skip
"""Of each table the columns that say, with the cell, what a line is about, and those that are recomputed."""


def robust_accuracy(grid):
    found = {}
    clean = defaultdict(dict)
    for case, row in grid.cases.items():
        draws, results = grid.draws[case], []
        for (sample,), rows in by(grid.rows[case], "sample").items():
            worst = min(rows, key=lambda r: (not r["success"], last(r["adv_votes"]), last(r["target"])))
            chosen = len(rows) > 1 or grid.chooses[case]
            fooled, votes = confirmed(worst) if chosen else worst["success"], worst["adv_votes"]
            votes = worst["second_votes"] if chosen and worst["second_votes"] is not None else votes
            right = all(r["clean_correct"] for r in rows)
            likely = chance(right, rows[0]["clean_votes"], draws)
            results.append((right and not fooled, likely * chance(not fooled, votes, draws)))
            was_right, _ = clean[about(row), draws].get(sample, (True, 0))
            clean[about(row), draws][sample] = right and was_right, likely
        accuracy = voted(sum(r for r, _ in results), len(results), [c for _, c in results])
        key = (*about(row), attack_of(row), row["eps"], draws)
        found[key] = (*accuracy, len(results), *counts(grid, case))
        clean[about(row), draws]
    for (cell, draws), samples in clean.items():
        accuracy = voted(sum(r for r, _ in samples.values()), len(samples), [c for _, c in samples.values()])
        same = [row for case, row in grid.cases.items() if about(row) == cell and grid.draws[case] == draws]
        wanted = max(row["samples_wanted"] for row in same)
        found[(*cell, "none", None, draws)] = (*accuracy, len(samples), len(samples), wanted, len(samples) >= wanted)
    return found


def minimal_norm(grid):
    found = {}
    free = [case for case, row in grid.cases.items() if row["eps"] is None]
    lines = [(attack, [case]) for case in free for attack in [grid.cases[case]["attack_label"]]]
    groups = defaultdict(list)
    for case in free:
        row = grid.cases[case]
        groups[row["cell_id"], grid.draws[case], row["space"], row["box"], grid.targets[case]].append(case)
    lines += [(f"best of {len(cases)} attacks", cases) for cases in groups.values() if len(cases) > 1]
    for attack, cases in lines:
        first, stored = grid.cases[cases[0]], [counts(grid, case) for case in cases]
        told = min(s for s, _, _ in stored), min(w for _, w, _ in stored), all(c for _, _, c in stored)
        for measure in MEASURES[: 7 if len(cases) == 1 else 6]:
            column = measure.replace(" ", "_")
            tried = []
            for rows in by((r for c in cases for r in grid.rows[c] if r["attacked"]), "sample", "target").values():
                if {r["case_id"] for r in rows} == set(cases):
                    best = min(rows, key=lambda r: (not r["success"], last(r[column]), r["case_id"]))
                    ok = confirmed(best) if len(cases) > 1 or grid.chooses[cases[0]] else best["success"]
                    tried.append({"row": best, "ok": ok, "x": best[column], "sample": best["sample"]})
            aims = {None: tried} if grid.targets[cases[0]] == "null" else {"each": tried, "best": []}
            for (_,), each in by(tried, "sample").items() if "best" in aims else ():
                best = min(each, key=lambda t: (not t["row"]["success"], last(t["x"]), last(t["row"]["target"])))
                aims["best"].append(best | {"ok": confirmed(best["row"])})
            for targets, some in aims.items():
                key = (*about(first), attack, first["space"], first["box"], grid.draws[cases[0]], targets, measure)
                found[key] = (*_distances(some), *told)
    return found


def _distances(tried):
    clusters = list(by(tried, "sample").values())
    successes = [t["x"] for t in tried if t["ok"]]
    rate = clustered_share([[t["ok"] for t in each] for each in clusters])
    average = clustered_mean([[t["x"] for t in each if t["ok"]] for each in clusters])
    over_all = median([t["x"] if t["ok"] else INFINITE for t in tried])
    return (*average, *rate, median(successes), over_all, len(tried), len(successes))


def fooling(grid):
    found = {}
    for case, row in grid.cases.items():
        norm = row["norm"]
        tried = []
        for r in grid.rows[case]:
            if r["attacked"]:
                fooled = r["adv_pred"] is not None and r["adv_pred"] != r["clean_pred"]
                fooled = confirmed(r, "fooled") if grid.chooses[case] else fooled
                tried.append(r | {"fooled": fooled, "distance": r[norm]})
        aims = {None: tried} if grid.targets[case] == "null" else {"each": tried, "best": []}
        for each in by(tried, "sample").values() if "best" in aims else ():
            best = min(each, key=lambda r: (not r["fooled"], *map(last, (r["adv_votes"], r["distance"], r["target"]))))
            aims["best"].append(best | {"fooled": confirmed(best, "fooled")})
        for targets, some in aims.items():
            clusters = list(by(some, "sample").values())
            fooled = [r for r in some if r["fooled"]]
            numbers = (
                *clustered_share([[r["fooled"] for r in each] for each in clusters]),
                *clustered_mean([[r["adv_confidence"] for r in each if r["fooled"]] for each in clusters]),
                *clustered_mean([[r["distance"] for r in each if r["distance"] is not None] for each in clusters]),
                median([r["distance"] for r in some if r["distance"] is not None]),
                mean([r["relative_linf" if norm == "linf" else "relative_l2"] for r in some]),
                mean([r["l2"] for r in some]),
                *(median([r[name] for r in fooled if r[name] is not None]) for name in ("l0", "l0_values")),
                *(mean([r[name] for r in some]) for name in ("steps", "seconds")),
                len(some),
            )
            key = (*about(row), attack_of(row), row["eps"], grid.draws[case], targets)
            found[key] = (*numbers, *counts(grid, case))
    return found


def asked_of(row):
    """The attack, whatever the harness says of when a sample is finished."""
    attack = json.loads(row["attack_json"])
    return json.dumps([{**each, "stopping": None, "then": None} for each in (attack, *attack.get("then", []))])


def transfer(grid):
    found = {}
    moved = {asked_of(row) for row in grid.cases.values() if row["source_cell_id"]}
    labels = {row["cell_id"]: row["cell_label"] for row in grid.cases.values()}
    for case, row in grid.cases.items():
        if asked_of(row) in moved:
            attacked = [r for r in grid.rows[case] if r["attacked"]]
            clusters = list(by(attacked, "sample").values())
            fooled = [[r["adv_pred"] not in (None, r["clean_pred"]) for r in each] for each in clusters]
            success = [[r["success"] for r in each] for each in clusters]
            source = labels[row["source_cell_id"]] if row["source_cell_id"] else f"{row['cell_label']} (itself)"
            attack = without(attack_of(row), "source", row["source"])
            key = (*about(row), source, attack, row["eps"], grid.draws[case])
            rates = (*clustered_share(fooled), *clustered_share(success), len(attacked))
            found[key] = (*rates, *counts(grid, case))
    return found


RECOMPUTED = {
    "robust_accuracy": robust_accuracy,
    "worst_case": worst_case,
    "security_curve": security_curve,
    "minimal_norm": minimal_norm,
    "fooling": fooling,
    "transfer": transfer,
}


def compare(con, grid, table, name):
    """Every line of a table, found by what it is about, has the numbers that Python finds."""
    names, numbers = LINES[table]
    lines = query(con, table, name).to_pylist()
    found = {tuple(row[name] for name in (*ABOUT, *names)): tuple(row[name] for name in numbers) for row in lines}
    assert len(found) == len(lines), "two lines are about the same"
    expected = RECOMPUTED[table](grid)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        due = tuple(pytest.approx(v, rel=1e-6, abs=1e-9) if isinstance(v, float) else v for v in values)
        assert found[key] == due, (key, numbers)
    return lines
