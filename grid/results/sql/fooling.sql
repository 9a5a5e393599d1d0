-- How often each attack changes the prediction, how sure the model is then, how far the images go, and what it costs.
-- Grain: one row per case of the grid. The rate, delta (mean and median distance in the case's own norm), rho (mean
--     relative distance: linf for linf, else l2), l2, steps and seconds are over all attacked samples, failures
--     included; the confidence and the medians of changed pixels and channel values are over the fooled ones.
--     fit_fooling_rate is what a prepare step says of the images it was fitted to. Distances are in units of `space`.
-- Parameter: $grid, the name of the grid.
WITH measured AS (
    SELECT
        case_id, count(*) AS n, count(*) FILTER (fooled) AS k,
        avg(sure) AS confidence, mean_low(sure) AS confidence_low, mean_high(sure) AS confidence_high,
        avg(distance) AS delta, mean_low(distance) AS delta_low, mean_high(distance) AS delta_high,
        median(distance) AS delta_median, avg(relative) AS rho, avg(l2) AS l2,
        median(l0) FILTER (fooled) AS pixels, median(l0_values) FILTER (fooled) AS "values",
        avg(steps) AS steps, avg(seconds) AS seconds
    FROM (
        SELECT
            *, CASE norm WHEN 'l0' THEN l0 WHEN 'l1' THEN l1 WHEN 'l2' THEN l2 ELSE linf END::DOUBLE AS distance,
            CASE norm WHEN 'linf' THEN relative_linf ELSE relative_l2 END AS relative,
            CASE WHEN fooled THEN adv_confidence END AS sure
        FROM base.attempts WHERE grid = $grid
    ) GROUP BY case_id
), fitted AS (
    SELECT case_id, any_value(value) AS fit_fooling_rate FROM prepared WHERE fact = 'fooling_rate' GROUP BY case_id
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, without_eps(a.attack_label, a.eps_label) AS attack,
    a.norm, a.eps, a.eps_label, a.space, a.box,
    m.k / nullif(m.n, 0) AS fooling_rate, wilson_low(m.k, m.n) AS fooling_rate_low,
    wilson_high(m.k, m.n) AS fooling_rate_high, f.fit_fooling_rate, m.confidence, m.confidence_low, m.confidence_high,
    m.delta, m.delta_low, m.delta_high, m.delta_median, m.rho, m.l2, m.pixels, m."values", m.steps, m.seconds,
    coalesce(m.n, 0) AS n_attacked, a.samples_stored, a.samples_wanted, a.complete
FROM coverage AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
LEFT JOIN fitted AS f ON f.case_id = a.case_id
WHERE a.grid = $grid AND a.probe IS NULL
ORDER BY g.axes, a.cell_label, a.cell_id, a.attack, a.norm,
    a.eps, a.attack_label, a.space, a.box, a.variant, a.case_id
