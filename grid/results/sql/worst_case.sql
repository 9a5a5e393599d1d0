-- Accuracy under all attacks of one budget at once.
-- Grain: one row per cell, variant and budget (norm, eps, space, box) of the grid; attacks without an eps have none.
--     Attacks of different variants are not mixed: a published procedure may leave the ball that a corrected one keeps.
--     A sample counts once every wanted case of the group has it, and is robust if it withstands them all. As many are
--     wanted as the case that wants the fewest asks for.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT
        cell_id, variant, norm, eps, space, box, case_id, any_value(eps_label) AS eps_label,
        max(samples_wanted) AS samples_wanted
    FROM wanted WHERE grid = $grid AND case_id IS NOT NULL AND eps IS NOT NULL
    GROUP BY cell_id, variant, norm, eps, space, box, case_id
), budgets AS (
    SELECT
        cell_id, variant, norm, eps, space, box, list(case_id) AS members, count(*) AS attacks,
        coalesce(nullif(min(eps_label), ''), eps::VARCHAR) AS eps_label, min(samples_wanted) AS samples_wanted
    FROM asked GROUP BY cell_id, variant, norm, eps, space, box
), numbered AS (
    SELECT *, row_number() OVER () AS budget FROM budgets
), seen AS (
    SELECT
        b.budget, b.attacks, s.sample, count(DISTINCT s.case_id) AS cases,
        bool_and(s.clean_correct AND NOT s.success) AS robust
    FROM (SELECT budget, attacks, samples_wanted, unnest(members) AS case_id FROM numbered) AS b
    JOIN samples AS s ON s.case_id = b.case_id AND s.position < b.samples_wanted
    GROUP BY b.budget, b.attacks, s.sample
), counts AS (
    SELECT budget, count(*) AS n, count(*) FILTER (robust) AS k FROM seen WHERE cases = attacks GROUP BY budget
)
SELECT
    b.cell_id,
    unnest(g.axes), b.variant, g.cell, b.attacks, b.norm,
    b.eps, b.eps_label, b.space, b.box, c.k / nullif(c.n, 0) AS accuracy, wilson_low(c.k, c.n) AS accuracy_low,
    wilson_high(c.k, c.n) AS accuracy_high, coalesce(c.n, 0) AS n,
    coalesce(c.n, 0) AS samples_stored, b.samples_wanted, coalesce(c.n, 0) >= b.samples_wanted AS complete
FROM numbered AS b
JOIN base.grid_cells AS g ON g.grid = $grid AND g.cell_id = b.cell_id
LEFT JOIN counts AS c ON c.budget = b.budget
ORDER BY g.axes, g.cell_label, g.cell_id, b.variant,
    b.norm, b.eps, b.space, b.box
