-- How often attacks without an eps succeed, and how far they go when they do.
-- Grain: one row per measure (l2, linf, relative l2, mse, steps) of each case of the grid whose budget has no eps.
--     Success is a share of the attacked samples, the same in all rows of a case. The measures are over the successful
--     ones; distances are in units of `space`. Samples at or beyond the wanted count are left out.
-- Parameter: $grid, the name of the grid.
WITH rows AS (
    SELECT a.case_id, s.attacked, s.success, s.l2, s.linf, s.relative_l2, s.mse, s.steps
    FROM coverage AS a JOIN samples AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE a.grid = $grid AND a.eps IS NULL AND a.probe IS NULL
), counted AS (
    SELECT case_id, count(*) FILTER (attacked) AS n_attacked, count(*) FILTER (success) AS n_success
    FROM rows GROUP BY case_id
), measured AS (
    SELECT
        case_id, place, avg(x) AS mean, mean_low(x) AS mean_low, mean_high(x) AS mean_high, median(x) AS median
    FROM (
        SELECT case_id, unnest([
            {place: 1, x: l2::DOUBLE}, {place: 2, x: linf::DOUBLE}, {place: 3, x: relative_l2::DOUBLE},
            {place: 4, x: mse::DOUBLE}, {place: 5, x: steps::DOUBLE}
        ], recursive := true) FROM rows WHERE success
    ) GROUP BY case_id, place
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell,
    a.attack_label AS attack, a.norm, a.space, a.box, w.measure, m.mean, m.mean_low, m.mean_high, m.median,
    c.n_success / nullif(c.n_attacked, 0) AS success_rate, wilson_low(c.n_success, c.n_attacked) AS success_rate_low,
    wilson_high(c.n_success, c.n_attacked) AS success_rate_high,
    coalesce(c.n_attacked, 0) AS n_attacked, coalesce(c.n_success, 0) AS n_success,
    a.samples_stored, a.samples_wanted, a.complete
FROM coverage AS a
CROSS JOIN (VALUES (1, 'l2'), (2, 'linf'), (3, 'relative l2'), (4, 'mse'), (5, 'steps')) AS w (place, measure)
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN counted AS c ON c.case_id = a.case_id
LEFT JOIN measured AS m ON m.case_id = a.case_id AND m.place = w.place
WHERE a.grid = $grid AND a.eps IS NULL AND a.probe IS NULL
ORDER BY g.axes, a.cell_label, a.cell_id, a.variant,
    a.attack_label, a.norm, a.space, a.box, a.case_id, w.place
