-- What the probes found, over all images.
-- Grain: one row per (layer, measure, epoch) of each probe's case of the grid; where nothing is stored yet, one row
--     without a measure. `layer` is null for the model as a whole, `epoch` for the cell as it is kept. Numbers are over
--     the `n` images that have a value; `absent` ones have none. A measure with elements (a map) counts as its mean
--     over each image's elements, which are no measurements of their own. The interval of the mean is Wilson's where
--     every value is 0 or 1, else the normal one; `sd` is that of a sample. Samples at or beyond the wanted count are
--     left out.
-- Parameter: $grid, the name of the grid.
WITH images AS (
    SELECT s.case_id, s.epoch, s.layer, s.measure, s.sample, avg(s.value::DOUBLE) AS x
    FROM coverage AS a JOIN measures AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE a.grid = $grid GROUP BY s.case_id, s.epoch, s.layer, s.measure, s.sample
), measured AS (
    SELECT
        case_id, epoch, layer, measure, count(x) AS n, count(*) - count(x) AS absent, avg(x) AS mean,
        share_or_mean_low(x) AS mean_low, share_or_mean_high(x) AS mean_high, median(x) AS median,
        deviation(x) AS sd, min(x) AS min, max(x) AS max
    FROM images GROUP BY case_id, epoch, layer, measure
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, a.probe_label AS probe,
    m.epoch, m.layer, m.measure, m.mean, m.mean_low, m.mean_high, m.median, m.sd, m.min, m.max,
    coalesce(m.n, 0) AS n, coalesce(m.absent, 0) AS absent, a.samples_stored, a.samples_wanted, a.complete
FROM coverage AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
WHERE a.grid = $grid AND a.probe IS NOT NULL
ORDER BY g.axes, a.cell_label, a.cell_id, a.variant,
    a.probe_label, a.case_id, m.epoch, m.layer IS NOT NULL, try_cast(m.layer AS INTEGER), m.layer, m.measure
