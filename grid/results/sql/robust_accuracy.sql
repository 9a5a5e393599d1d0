-- Accuracy on clean images and under each attack.
-- Grain: one row per cell of the grid with attack 'none', over the distinct stored samples of the cell's cases, and
--     one row per case. Samples at or beyond the wanted count are left out. A sample under several targets is one
--     sample, and robust if it withstands them all. `attack` is its label without the eps, which is a column. Of a cell
--     whose model draws, `draws` says how many decide a prediction, there is a clean row for each such number, the
--     intervals contain the error of the votes, and of several targets the image on which the first vote was worst is
--     only nominated: its second vote decides.
-- Parameter: $grid, the name of the grid.
WITH images AS (
    SELECT
        cell_id, case_id, draws, sample, bool_and(clean_correct) AS is_right, any_value(clean_votes) AS clean_votes,
        count(*) > 1 AS chosen,
        arg_min({success: success, second: second_success, votes: adv_votes, second_votes: second_votes},
            (NOT success, adv_votes, target)) AS worst
    FROM base.judged WHERE grid = $grid GROUP BY cell_id, case_id, draws, sample
), decided AS (
    SELECT
        *, is_right AND NOT decided(chosen, worst.success, worst.second) AS robust,
        chance(is_right, clean_votes, draws) AS clean_chance,
        clean_chance * chance(NOT decided(chosen, worst.success, worst.second),
            decided(chosen, worst.votes, worst.second_votes), draws) AS robust_chance
    FROM images
), clean AS (
    SELECT
        cell_id, draws, sample, bool_and(is_right) AS is_right, any_value(clean_chance) AS chance
    FROM decided GROUP BY cell_id, draws, sample
), counts AS (
    SELECT
        cell_id, NULL AS case_id, draws, count(*) AS n, count(*) FILTER (is_right) AS k,
        avg(chance * (1 - chance)) AS doubt
    FROM clean GROUP BY cell_id, draws
    UNION ALL BY NAME
    SELECT
        cell_id, case_id, draws, count(*) AS n, count(*) FILTER (robust) AS k,
        avg(robust_chance * (1 - robust_chance)) AS doubt
    FROM decided GROUP BY cell_id, case_id, draws
), asked AS (
    SELECT a.cell_id, v.draws, max(a.samples_wanted) AS samples_wanted
    FROM coverage AS a JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id
    WHERE a.grid = $grid GROUP BY a.cell_id, v.draws
), lines AS (
    SELECT
        g.axes, g.cell, g.cell_label, g.cell_id, g.variant, NULL AS case_id, 'none' AS attack, v.draws, c.k, c.doubt,
        coalesce(c.n, 0) AS n, coalesce(c.n, 0) AS samples_stored,
        coalesce(v.samples_wanted, g.samples_wanted) AS samples_wanted,
        CASE WHEN g.samples_wanted = 0 THEN t.trained ELSE coalesce(c.n, 0) >= v.samples_wanted END AS complete
    FROM base.grid_cells AS g
    LEFT JOIN asked AS v ON v.cell_id = g.cell_id
    LEFT JOIN cells AS t ON t.cell_id = g.cell_id
    LEFT JOIN counts AS c ON c.cell_id = g.cell_id AND c.draws IS NOT DISTINCT FROM v.draws AND c.case_id IS NULL
    WHERE g.grid = $grid AND g.asked
    UNION ALL BY NAME
    SELECT
        g.axes, g.cell, a.cell_label, a.cell_id, a.variant, a.case_id,
        without_eps(a.attack_label, a.eps_label) AS attack, a.norm, a.eps, a.eps_label, a.space, a.box, v.draws, c.k,
        c.doubt, coalesce(c.n, 0) AS n, a.samples_stored, a.samples_wanted, a.complete
    FROM coverage AS a
    JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id
    LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
    LEFT JOIN counts AS c ON c.case_id = a.case_id
    WHERE a.grid = $grid AND a.probe IS NULL
)
SELECT
    cell_id, case_id,
    axes.*, variant, cell, attack, norm, eps, eps_label, space, box, draws,
    k / nullif(n, 0) AS accuracy, voted_low(k, n, doubt) AS accuracy_low, voted_high(k, n, doubt) AS accuracy_high, n,
    samples_stored, samples_wanted, complete
FROM lines
ORDER BY axes, cell_label, cell_id, case_id IS NOT NULL, attack,
    norm, eps, space, box, draws, variant, case_id
