-- How often images made with one cell change the prediction of another.
-- Grain: one row per case of the grid whose attack, with these parameters, is anywhere transferred; the cell's attack
--     on itself is among them. `source`: the cell that the attack looked at, in words; of a cell's attack on itself it
--     says so. source_*: the components of the source. Where an attack aims at classes the rates are over samples and
--     targets, their intervals by sample.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT DISTINCT
        w.grid, w.case_id, without_stopping(w.attack_json) AS attack, coalesce(w.source_cell_id, w.cell_id) AS source_id, w.source_cell_id
    FROM wanted AS w WHERE w.grid = $grid AND w.case_id IS NOT NULL AND w.probe IS NULL
), transferred AS (
    SELECT DISTINCT attack FROM asked WHERE source_cell_id IS NOT NULL
), sources AS (
    SELECT cell_id, any_value(axes) AS axes, min(cell_label) AS label FROM base.all_wanted GROUP BY cell_id
), by_sample AS (
    SELECT
        case_id, sample, count(*) AS n, count(*) FILTER (decided(chooses, fooled, second_fooled)) AS k,
        count(*) FILTER (decided(chooses, success, second_success)) AS success
    FROM base.attempts WHERE grid = $grid GROUP BY case_id, sample
), measured AS (
    SELECT
        case_id, sum(n)::BIGINT AS n, rate(k, n) AS fooling_rate, rate_low(k, n) AS fooling_rate_low,
        rate_high(k, n) AS fooling_rate_high, rate(success, n) AS success_rate,
        rate_low(success, n) AS success_rate_low, rate_high(success, n) AS success_rate_high
    FROM by_sample GROUP BY case_id
)
SELECT
    a.cell_id, a.case_id,
    s.label || CASE WHEN w.source_cell_id IS NULL THEN ' (itself)' ELSE '' END AS source,
    unnest(as_source(s.axes)), unnest(g.axes), a.variant, g.cell,
    without_eps(without_source(a.attack_label, a.source), a.eps_label) AS attack,
    a.norm, a.eps, a.eps_label, a.space, a.box, v.draws,
    m.* EXCLUDE (case_id, n),
    coalesce(m.n, 0) AS n_attacked, a.samples_stored, a.samples_wanted, a.complete
FROM asked AS w
JOIN transferred AS t ON t.attack = w.attack
JOIN coverage AS a ON a.grid = w.grid AND a.case_id = w.case_id
JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id
JOIN sources AS s ON s.cell_id = w.source_id
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
ORDER BY attack, a.norm, a.eps, a.space, a.box, a.variant, a.dataset, as_source(s.axes), g.axes, a.case_id
