-- Accuracy on clean images and under each attack.
-- Grain: one row per cell of the grid with attack 'none', over the distinct stored samples of the cell's cases, and
--     one row per case. Samples at or beyond the wanted count are left out. A sample under several targets is one
--     sample, and robust if it withstands them all. `attack` is its label without the eps, which is a column.
-- Parameter: $grid, the name of the grid.
WITH rows AS (
    SELECT a.cell_id, a.case_id, s.sample, s.clean_correct, s.clean_correct AND NOT s.success AS robust
    FROM coverage AS a JOIN samples AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE a.grid = $grid
), counts AS (
    SELECT
        cell_id, case_id, count(DISTINCT sample) AS n,
        n - count(DISTINCT sample) FILTER (NOT clean_correct) AS clean_correct,
        n - count(DISTINCT sample) FILTER (NOT robust) AS robust
    FROM rows GROUP BY GROUPING SETS ((cell_id), (cell_id, case_id))
), lines AS (
    SELECT
        g.axes, g.cell, g.cell_label, g.cell_id, g.variant, NULL AS case_id, 'none' AS attack, c.clean_correct AS k,
        coalesce(c.n, 0) AS n, coalesce(c.n, 0) AS samples_stored, g.samples_wanted,
        CASE WHEN g.samples_wanted = 0 THEN t.trained ELSE coalesce(c.n, 0) >= g.samples_wanted END AS complete
    FROM base.grid_cells AS g
    LEFT JOIN cells AS t ON t.cell_id = g.cell_id
    LEFT JOIN counts AS c ON c.cell_id = g.cell_id AND c.case_id IS NULL
    WHERE g.grid = $grid AND g.asked
    UNION ALL BY NAME
    SELECT
        g.axes, g.cell, a.cell_label, a.cell_id, a.variant, a.case_id,
        without_eps(a.attack_label, a.eps_label) AS attack, a.norm, a.eps, a.eps_label, a.space, a.box, c.robust AS k,
        coalesce(c.n, 0) AS n, a.samples_stored, a.samples_wanted, a.complete
    FROM coverage AS a
    LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
    LEFT JOIN counts AS c ON c.case_id = a.case_id
    WHERE a.grid = $grid AND a.probe IS NULL
)
SELECT
    cell_id, case_id,
    axes.*, variant, cell, attack, norm, eps, eps_label, space, box,
    k / nullif(n, 0) AS accuracy, wilson_low(k, n) AS accuracy_low, wilson_high(k, n) AS accuracy_high, n,
    samples_stored, samples_wanted, complete
FROM lines
ORDER BY axes, cell_label, cell_id, case_id IS NOT NULL, attack,
    norm, eps, space, box, variant, case_id
