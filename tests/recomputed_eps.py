"""The tables of what holds within an eps, recomputed: {what a line is about: its numbers}."""

from collections import Counter

from recomputed import about, attack_of, band, by, chance, confirmed, counts, last, voted, within


def of_all(grid, members):
    """The rows of the samples that all of some cases have, below the least of what they want."""
    wanted = min(grid.cases[case]["samples_wanted"] for case in members)
    rows = [row for case in members for row in grid.rows[case] if row["position"] < wanted]
    return wanted, {
        sample: each for (sample,), each in by(rows, "sample").items() if {r["case_id"] for r in each} == set(members)
    }


def beside(grid, members):
    """All rows of the cell of some cases, in their space and box and with their number of draws."""
    first = grid.cases[members[0]]
    same = ("cell_id", "space", "box")
    cases = [
        case
        for case, row in grid.cases.items()
        if grid.draws[case] == grid.draws[members[0]] and all(row[name] == first[name] for name in same)
    ]
    return by((row for case in cases for row in grid.rows[case]), "sample"), first


def worst_case(grid):
    found = {}
    groups = grid.groups("cell_id", "norm", "eps", "space", "box", of=lambda row: row["eps"] is not None)
    for (draws, _, norm, eps, _, _), members in sorted(groups.items(), key=lambda group: group[0][3]):
        candidates, first = beside(grid, members)
        reached = {s: [r for r in rows if within(r, norm, eps)] for (s,), rows in candidates.items()}
        broke = Counter(r["case_id"] for rows in reached.values() for r in rows if r["success"])

        def named(case, members=members):
            return attack_of(grid.cases[case]) if case in members else grid.cases[case]["attack_label"]

        def worse(r, draws=draws, norm=norm, members=members, broke=broke, named=named):
            case = r["case_id"]
            tied = nearest(r, norm) if draws else ()
            return (*rank(r), *tied, -broke[case], case not in members, named(case), case, last(r["target"]))

        wanted, samples = of_all(grid, members)
        robust, chances, decided, votes = 0, [], Counter(), set()
        for sample, rows in samples.items():
            right = all(r["clean_correct"] for r in rows)
            worst = min(reached.get(sample, ()), key=worse, default=None)
            fooled = worst is not None and right and confirmed(worst)
            robust += right and not fooled
            seen = (
                None
                if worst is None
                else worst["adv_votes"]
                if worst["second_votes"] is None
                else worst["second_votes"]
            )
            chances.append(chance(right, rows[0]["clean_votes"], draws) * chance(not fooled, seen, draws))
            decided.update([named(worst["case_id"])] if fooled else [])
            votes |= {"first (too low)" if worst["second_success"] is None else "second"} if worst else set()
        n = len(samples)
        key = (*about(first), norm, first["eps"], first["space"], first["box"], draws)
        smaller = [o for o in found if draws and (o[:5], o[6:]) == (key[:5], key[6:]) and found[o][3] == n]
        robust = min([robust, *(round(found[o][0] * n) for o in smaller if n)])
        text = ", ".join(f"{a} {num}" for a, num in sorted(decided.items(), key=lambda item: (-item[1], item[0])))
        fewest = min(members, key=lambda case: (counts(grid, case)[0], grid.cases[case]["attack_label"]))
        vote = min(votes, default=None) if draws else None
        told = (n, len(members), vote, text or None, attack_of(grid.cases[fewest]) if n < wanted else None)
        found[key] = (*voted(robust, n, chances), *told, n, wanted, n >= wanted)
    return found


def nearest_broken(grid, norm, space, box):
    """The distances at which the worst image of a sample that is broken comes to be another one."""
    found = []
    for (_, _, *budget), members in grid.groups("cell_id", "norm", "space", "box").items():
        if budget == [norm, space, box]:
            for rows in beside(grid, members)[0].values():
                before = None
                for r in sorted((r for r in rows if r[norm]), key=lambda r: nearest(r, norm)):
                    if before is None or rank(r) < before:
                        before = rank(r)
                        found += [r[norm]] * confirmed(r)
    return sorted(found)


def rank(r):
    return (not r["success"], last(r["adv_votes"]))


def nearest(r, norm):
    return (r[norm], *rank(r), r["case_id"], last(r["target"]))


def epsilons(grid, norm, space, box):
    same = [r for r in grid.cases.values() if (r["norm"], r["space"], r["box"]) == (norm, space, box)]
    given = {row["eps"] for row in same if row["eps"] is not None}
    distances = nearest_broken(grid, norm, space, box)
    n = len(distances)
    places = [max(1, n - int(n - n * (i / 20))) - 1 for i in range(1, 21)] if n else []
    quantiles = [distances[place] for place in places]
    return {0.0, *given, *(float(f"{x:.3g}") for x in quantiles if all(abs(e - x) >= 0.01 * e for e in given))}


def security_curve(grid):
    found = {}
    for (draws, _, norm, space, box), members in grid.groups("cell_id", "norm", "space", "box").items():
        candidates, first = beside(grid, members)
        wanted, samples = of_all(grid, members)
        least, n = len(samples), len(samples)
        for eps in sorted(epsilons(grid, norm, space, box)):
            robust = 0
            for sample, rows in samples.items():
                reached = [r for r in candidates[(sample,)] if within(r, norm, eps)]
                worst = min(reached, key=lambda r: (*rank(r), *nearest(r, norm)), default=None)
                robust += all(r["clean_correct"] for r in rows) and not (worst and confirmed(worst))
            least = min(least, robust)
            value = least / n if n else None
            bounds = (max(0, value - band(n)), min(1, value + band(n))) if n else (None, None)
            key = (*about(first), norm, space, box, draws, eps)
            found[key] = (value, *bounds, n, len(members), n, wanted, n >= wanted)
    return found
