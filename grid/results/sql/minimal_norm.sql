-- How often attacks without an eps succeed, and how far they go when they do.
-- Grain: one row per measure (l0, l1, l2, linf, relative l2, mse, steps) of each case of the grid whose budget has no
--     eps. Success is a share of the attacked samples, the same in all rows of a case. Mean and median are over the
--     successful ones; `median_all` is over all attacked, a failure counting as infinity: infinite where more than half
--     fail. Distances are in units of `space`. Where attacks aim at classes, a row with `targets` 'each' is over
--     samples and targets, its intervals by sample, and one with 'best' over samples, each with its nearest target.
--     'best of N attacks' is the nearest image of all N of a cell in one space and box that aim at the same, measure by
--     measure, over the samples that all have. Of a model that draws, what is nearest is nominated and its second vote
--     decides. Samples at or beyond the wanted count are left out.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT a.*, v.draws, v.targets
    FROM coverage AS a JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id
    WHERE a.grid = $grid AND a.eps IS NULL
), together AS (
    SELECT
        cell_id, draws, space, box, targets, count(*) AS attacks, list(case_id) AS members,
        variants(variant) AS variant, min(samples_stored) AS samples_stored, min(samples_wanted) AS samples_wanted,
        bool_and(complete) AS complete
    FROM asked GROUP BY cell_id, draws, space, box, targets HAVING count(*) > 1
), lines AS (
    SELECT
        row_number() OVER () AS line, *
    FROM (
        SELECT
            cell_id, draws, space, box, targets, 1 AS attacks, [case_id] AS members, variant, samples_stored,
            samples_wanted, complete, attack_label AS attack, norm, case_id
        FROM asked
        UNION ALL BY NAME
        SELECT *, 'best of ' || attacks || ' attacks' AS attack FROM together
    )
), rows AS (
    SELECT
        case_id, sample, target, success, second_success, unnest([
            {place: 1, x: l0::DOUBLE}, {place: 2, x: l1::DOUBLE}, {place: 3, x: l2::DOUBLE},
            {place: 4, x: linf::DOUBLE}, {place: 5, x: relative_l2::DOUBLE}, {place: 6, x: mse::DOUBLE},
            {place: 7, x: steps::DOUBLE}
        ], recursive := true)
    FROM base.attempts WHERE grid = $grid AND eps IS NULL
), tried AS (
    SELECT
        l.line, r.place, r.sample, r.target, arg_min(
            {x: r.x, success: r.success, second: r.second_success, chosen: l.attacks > 1},
            (NOT r.success, r.x, r.case_id)
        ) AS nearest
    FROM lines AS l JOIN rows AS r ON list_contains(l.members, r.case_id)
    WHERE l.attacks = 1 OR r.place < 7
    GROUP BY l.line, l.attacks, r.place, r.sample, r.target HAVING count(DISTINCT r.case_id) = l.attacks
), found AS (
    SELECT
        line, CASE WHEN target IS NOT NULL THEN 'each' END AS aimed, place, sample,
        decided(nearest.chosen, nearest.success, nearest.second) AS success, nearest.x AS x
    FROM tried
    UNION ALL
    SELECT line, aimed, place, sample, decided(true, best.success, best.second) AS success, best.x AS x
    FROM (
        SELECT line, 'best' AS aimed, place, sample, arg_min(nearest, (NOT nearest.success, nearest.x, target)) AS best
        FROM tried WHERE target IS NOT NULL GROUP BY line, place, sample
    )
), by_sample AS (
    SELECT
        line, aimed, place, sample, count(*) AS n, count(*) FILTER (success) AS k, sum(x) FILTER (success) AS total
    FROM found GROUP BY line, aimed, place, sample
), measured AS (
    SELECT
        line, aimed, place, sum(n)::BIGINT AS n_attacked, sum(k)::BIGINT AS n_success, rate(k, n) AS success_rate,
        rate_low(k, n) AS success_rate_low, rate_high(k, n) AS success_rate_high, rate(total, k) AS mean,
        ratio_low(total, k) AS mean_low, ratio_high(total, k) AS mean_high
    FROM by_sample GROUP BY line, aimed, place
), medians AS (
    SELECT
        line, aimed, place, median(x) FILTER (success) AS median,
        median(CASE WHEN success THEN x ELSE 'infinity' END) AS median_all
    FROM found GROUP BY line, aimed, place
), wanted_lines AS (
    SELECT *, unnest(CASE WHEN targets IS NULL THEN [NULL] ELSE ['each', 'best'] END) AS aimed FROM lines
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, a.attack, a.norm, a.space, a.box, a.draws, a.aimed AS targets,
    w.measure, m.mean, m.mean_low, m.mean_high, d.median, d.median_all, m.success_rate, m.success_rate_low,
    m.success_rate_high, coalesce(m.n_attacked, 0) AS n_attacked, coalesce(m.n_success, 0) AS n_success,
    a.samples_stored, a.samples_wanted, a.complete
FROM wanted_lines AS a
CROSS JOIN (VALUES (1, 'l0'), (2, 'l1'), (3, 'l2'), (4, 'linf'), (5, 'relative l2'), (6, 'mse'), (7, 'steps'))
    AS w (place, measure)
JOIN base.grid_cells AS g ON g.grid = $grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.line = a.line AND m.aimed IS NOT DISTINCT FROM a.aimed AND m.place = w.place
LEFT JOIN medians AS d ON d.line = a.line AND d.aimed IS NOT DISTINCT FROM a.aimed AND d.place = w.place
WHERE a.attacks = 1 OR w.place < 7
ORDER BY g.axes, g.cell_label, a.cell_id, a.attacks > 1, a.variant,
    a.attack, a.norm, a.space, a.box, a.draws, a.case_id, a.targets, a.aimed DESC, w.place
