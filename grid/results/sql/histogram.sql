-- How the probabilities and the margins of the probe confidence are distributed.
-- Grain: one row per bin of each measure of each case of the probe, of the cell as it is kept, for all `images` and for
--     the correct ones; where nothing is stored yet, one row without a measure. 20 bins of equal width: from 0 to 1 for
--     confidence and true_class_confidence, and for margin from the least to the greatest of the cell, one wide where
--     these are the same. A bin holds its lower edge, the last one its upper edge too. `share`: of the images counted.
--     Samples at or beyond the wanted count are left out, and so are probes of every epoch.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT * FROM coverage WHERE grid = $grid AND probe = 'confidence'
        AND case_id NOT IN (SELECT case_id FROM wanted WHERE is_of_each_epoch(probe_json))
), found AS (
    SELECT
        s.case_id, s.measure, s.value::DOUBLE AS x,
        bool_or(s.measure = 'correct' AND s.value = 1) OVER (PARTITION BY s.case_id, s.sample) AS is_correct
    FROM asked AS a JOIN measures AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE s.epoch IS NULL AND s.measure IN ('correct', 'confidence', 'true_class_confidence', 'margin')
), scales AS (
    SELECT
        case_id, measure,
        CASE WHEN measure <> 'margin' THEN 0 WHEN min(x) < max(x) THEN min(x) ELSE min(x) - 0.5 END AS low,
        CASE WHEN measure <> 'margin' THEN 1 WHEN min(x) < max(x) THEN max(x) ELSE max(x) + 0.5 END AS high
    FROM found WHERE isfinite(x) AND measure <> 'correct' GROUP BY case_id, measure
), bins AS (
    SELECT case_id, measure, low, high, unnest(range(20)) AS bin FROM scales
), placed AS (
    SELECT
        f.case_id, f.measure, f.is_correct, least(19, floor(20 * (f.x - s.low) / (s.high - s.low)))::BIGINT AS bin
    FROM found AS f JOIN scales AS s USING (case_id, measure) WHERE isfinite(f.x)
), counted AS (
    SELECT case_id, measure, bin, count(*) AS all_images, count(*) FILTER (is_correct) AS correct_images
    FROM placed GROUP BY case_id, measure, bin
), lines AS (
    SELECT
        b.case_id, b.measure, i.images, b.bin, b.low + b.bin * (b.high - b.low) / 20 AS bin_low,
        b.low + (b.bin + 1) * (b.high - b.low) / 20 AS bin_high,
        coalesce(CASE i.images WHEN 'all' THEN c.all_images ELSE c.correct_images END, 0) AS n
    FROM bins AS b CROSS JOIN (VALUES ('all'), ('correct')) AS i (images)
    LEFT JOIN counted AS c ON c.case_id = b.case_id AND c.measure = b.measure AND c.bin = b.bin
), measured AS (
    SELECT *, sum(n) OVER (PARTITION BY case_id, measure, images) AS total FROM lines
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, a.probe_label AS probe,
    m.measure, m.images, m.bin_low, m.bin_high, coalesce(m.n, 0) AS n, m.n / nullif(m.total, 0) AS share,
    a.samples_stored, a.samples_wanted, a.complete
FROM asked AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
ORDER BY g.axes, a.cell_label, a.cell_id, a.variant,
    a.probe_label, a.case_id, m.measure, m.images, m.bin
