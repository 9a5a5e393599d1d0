-- What the probes found of the cells as they are kept, by true class.
-- Grain: one row per (layer, measure, true class) of each probe's case of the grid, and one with a null label for all
--     classes; where nothing is stored yet, one row without a measure. Numbers are over the `n` images that have a
--     value; an image of a measure with elements (a map) counts as their mean. A class's interval is Wilson's where
--     every value is 0 or 1, else the normal one. The mean of all classes is the unweighted mean of the classes' means,
--     with the interval that follows from theirs (Zou and Donner 2008); the median of all is that of all images.
--     Samples at or beyond the wanted count are left out, and so are probes of every epoch.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT * FROM coverage WHERE grid = $grid AND probe IS NOT NULL
        AND case_id NOT IN (SELECT case_id FROM wanted WHERE is_of_each_epoch(probe_json))
), images AS (
    SELECT s.case_id, s.layer, s.measure, s.sample, any_value(s.label) AS label, avg(s.value::DOUBLE) AS x
    FROM asked AS a JOIN measures AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE s.epoch IS NULL GROUP BY s.case_id, s.layer, s.measure, s.sample
), counted AS (
    SELECT
        case_id, layer, measure, label, count(x) AS n, median(x) AS median,
        CASE WHEN label IS NOT NULL THEN avg(x) END AS mean,
        CASE WHEN label IS NOT NULL THEN share_or_mean_low(x) END AS low,
        CASE WHEN label IS NOT NULL THEN share_or_mean_high(x) END AS high
    FROM images GROUP BY GROUPING SETS ((case_id, layer, measure, label), (case_id, layer, measure))
), measured AS (
    FROM counted WHERE label IS NOT NULL
    UNION ALL BY NAME
    -- As far from the mean as the classes' bounds are from theirs, added in squares; unknown where one of those is.
    SELECT
        case_id, layer, measure, any_value(n) FILTER (label IS NULL) AS n,
        any_value(median) FILTER (label IS NULL) AS median, avg(mean) AS mean,
        CASE WHEN count(low) = count(mean) THEN avg(mean) - sqrt(sum((mean - low) ** 2)) / count(mean) END AS low,
        CASE WHEN count(high) = count(mean) THEN avg(mean) + sqrt(sum((high - mean) ** 2)) / count(mean) END AS high
    FROM counted GROUP BY case_id, layer, measure
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, a.probe_label AS probe,
    m.layer, m.measure, m.label, m.mean, m.low AS mean_low, m.high AS mean_high, m.median,
    coalesce(m.n, 0) AS n, a.samples_stored, a.samples_wanted, a.complete
FROM asked AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
ORDER BY g.axes, a.cell_label, a.cell_id, a.variant,
    a.probe_label, a.case_id, m.layer IS NOT NULL, try_cast(m.layer AS INTEGER), m.layer, m.measure, m.label
