-- How often images made with one cell change the prediction of another.
-- Grain: one row per case of the grid whose attack, with these parameters, is anywhere transferred; the cell's attack
--     on itself is among them. source_*: the cell that the attack looked at.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT DISTINCT
        w.grid, w.case_id, w.attack_json, coalesce(w.source_cell_id, w.cell_id) AS source_id, w.source_cell_id
    FROM wanted AS w WHERE w.grid = $grid AND w.case_id IS NOT NULL AND w.probe IS NULL
), transferred AS (
    SELECT DISTINCT attack_json FROM asked WHERE source_cell_id IS NOT NULL
), sources AS (
    SELECT cell_id, any_value(axes) AS axes FROM base.all_wanted GROUP BY cell_id
), measured AS (
    SELECT case_id, count(*) AS n, count(*) FILTER (fooled) AS k, count(*) FILTER (success) AS success
    FROM base.attempts WHERE grid = $grid GROUP BY case_id
)
SELECT
    a.cell_id, a.case_id,
    unnest(as_source(s.axes)), unnest(g.axes), a.variant, g.cell,
    without_eps(without_source(a.attack_label, a.source), a.eps_label) AS attack,
    a.norm, a.eps, a.eps_label, a.space, a.box,
    m.k / nullif(m.n, 0) AS fooling_rate, wilson_low(m.k, m.n) AS fooling_rate_low,
    wilson_high(m.k, m.n) AS fooling_rate_high,
    m.success / nullif(m.n, 0) AS success_rate, wilson_low(m.success, m.n) AS success_rate_low,
    wilson_high(m.success, m.n) AS success_rate_high,
    coalesce(m.n, 0) AS n_attacked, a.samples_stored, a.samples_wanted, a.complete
FROM asked AS w
JOIN transferred AS t ON t.attack_json = w.attack_json
JOIN coverage AS a ON a.grid = w.grid AND a.case_id = w.case_id
JOIN sources AS s ON s.cell_id = w.source_id
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
ORDER BY attack, a.norm, a.eps, a.space, a.box, a.variant, a.dataset, as_source(s.axes), g.axes, a.case_id
