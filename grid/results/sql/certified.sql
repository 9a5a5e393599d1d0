-- How many images are classified right and certified to stay so, radius by radius.
-- Grain: one row per radius (l2, pixels in [0, 1]) of each case of the probe certified_radius, of the cell as it is
--     kept. The radii are 0, 0.25, 0.5, ... up to the largest that any case of the grid has, the same for all.
--     Certified accuracy: the share of all `n` images whose certified class is the label, at no less than the radius.
--     Abstention rate: the share of images without a certificate, the same in all rows of a case. Samples at or beyond
--     the wanted count are left out, and so are probes of every epoch.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT * FROM coverage WHERE grid = $grid AND probe = 'certified_radius'
        AND case_id NOT IN (SELECT case_id FROM wanted WHERE is_of_each_epoch(probe_json))
), images AS (
    -- One that is predicted wrong or not at all has the correct_radius 0, and no radius that is right is 0.
    SELECT
        s.case_id, s.sample, any_value(s.value::DOUBLE) FILTER (s.measure = 'correct_radius' AND s.value > 0) AS radius,
        bool_or(s.value = 1) FILTER (s.measure = 'abstained') AS abstained
    FROM asked AS a JOIN measures AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE s.epoch IS NULL GROUP BY s.case_id, s.sample
), counted AS (
    SELECT case_id, count(*) AS n, count(*) FILTER (abstained) AS abstained FROM images GROUP BY case_id
), radii AS (
    SELECT unnest(range(1 + floor(4 * coalesce(max(radius) FILTER (isfinite(radius)), 0))::BIGINT)) / 4 AS radius
    FROM images
), certified AS (
    SELECT i.case_id, r.radius, count(*) AS k
    FROM images AS i JOIN radii AS r ON i.radius >= r.radius GROUP BY i.case_id, r.radius
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, a.probe_label AS probe,
    r.radius, coalesce(c.k, 0) / nullif(i.n, 0) AS certified_accuracy,
    wilson_low(coalesce(c.k, 0), i.n) AS certified_accuracy_low,
    wilson_high(coalesce(c.k, 0), i.n) AS certified_accuracy_high,
    i.abstained / nullif(i.n, 0) AS abstention_rate, wilson_low(i.abstained, i.n) AS abstention_rate_low,
    wilson_high(i.abstained, i.n) AS abstention_rate_high,
    coalesce(i.n, 0) AS n, a.samples_stored, a.samples_wanted, a.complete
FROM asked AS a
CROSS JOIN radii AS r
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN counted AS i ON i.case_id = a.case_id
LEFT JOIN certified AS c ON c.case_id = a.case_id AND c.radius = r.radius
ORDER BY g.axes, a.cell_label, a.cell_id, a.variant,
    a.probe_label, a.case_id, r.radius
