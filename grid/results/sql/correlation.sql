-- Whether images whose gradient is steep are those that the model is unsure of.
-- Grain: one row per true class of each case of the probe input_gradient, of the cell as it is kept, and one with a
--     null label for the images of all classes together; where nothing is stored yet, one row without a number.
--     Pearson's correlation between mean_abs_gradient and true_class_confidence over the `n` images that have both,
--     with the interval from Fisher's z, and the two-sided p-value of Student's t, exact if one of the two is normal.
--     Null where one of them does not vary. Samples at or beyond the wanted count are left out, and so are probes of
--     every epoch.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT * FROM coverage WHERE grid = $grid AND probe = 'input_gradient'
        AND case_id NOT IN (SELECT case_id FROM wanted WHERE is_of_each_epoch(probe_json))
), images AS (
    SELECT
        s.case_id, s.sample, any_value(s.label) AS label,
        any_value(s.value::DOUBLE) FILTER (s.measure = 'mean_abs_gradient' AND isfinite(s.value)) AS steepness,
        any_value(s.value::DOUBLE) FILTER (s.measure = 'true_class_confidence' AND isfinite(s.value)) AS confidence
    FROM asked AS a JOIN measures AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE s.epoch IS NULL GROUP BY s.case_id, s.sample
), correlated AS (
    SELECT case_id, label, regr_count(steepness, confidence) AS n, corr(steepness, confidence) AS r
    FROM images GROUP BY GROUPING SETS ((case_id, label), (case_id))
), measured AS (
    SELECT case_id, label, n, CASE WHEN isfinite(r) THEN greatest(-1, least(1, r)) END AS r FROM correlated
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, a.probe_label AS probe,
    m.label, m.r AS correlation, correlation_low(m.r, m.n) AS correlation_low,
    correlation_high(m.r, m.n) AS correlation_high, correlation_p(m.r, m.n) AS p_value,
    coalesce(m.n, 0) AS n, a.samples_stored, a.samples_wanted, a.complete
FROM asked AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
ORDER BY g.axes, a.cell_label, a.cell_id, a.variant,
    a.probe_label, a.case_id, m.label
