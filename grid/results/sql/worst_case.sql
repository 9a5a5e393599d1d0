-- Accuracy under all attacks of one budget at once.
-- Grain: one row per cell, number of draws (of a model that draws) and budget (norm, eps, space, box) of the grid;
--     attacks without an eps have none. A sample counts once every wanted case of the budget has it, and is robust if
--     no attack of the grid on the cell, whatever its norm, eps, target, source and variant, has found an image of it
--     in the same space and box that is predicted otherwise and, as measured, within eps. As many samples are wanted
--     as the case that wants the fewest asks for; `limited_by` is the case with the fewest where some are missing.
--     `decided_by`: the attacks that broke samples, each sample counted for the one of them that broke the most.
--     Of a model that draws, the image on which the first vote was worst is only nominated: its second vote decides,
--     and the accuracy is no higher than at a smaller eps. `vote` says which it was: rows from
--     before 0.2 have the first one alone, which is the luckiest.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT w.*, v.draws FROM wanted AS w JOIN base.votes AS v ON v.grid = w.grid AND v.case_id = w.case_id
    WHERE w.grid = $grid AND w.eps IS NOT NULL
), budgets AS (
    SELECT
        cell_id, draws, norm, eps, space, box, list(DISTINCT case_id) AS members, count(DISTINCT case_id) AS attacks,
        coalesce(nullif(min(eps_label), ''), eps::VARCHAR) AS eps_label, variants(variant) AS variant,
        row_number() OVER () AS budget
    FROM asked GROUP BY cell_id, draws, norm, eps, space, box
), members AS (
    SELECT b.budget, a.case_id, a.attack_label, a.eps_label, a.samples_stored, a.samples_wanted
    FROM (SELECT budget, unnest(members) AS case_id FROM budgets) AS b
    JOIN coverage AS a ON a.grid = $grid AND a.case_id = b.case_id
), stored AS (
    SELECT
        budget, min(samples_wanted) AS samples_wanted,
        arg_min(without_eps(attack_label, eps_label), (samples_stored, attack_label)) AS fewest
    FROM members GROUP BY budget
), rows AS (
    FROM base.judged WHERE grid = $grid
), seen AS (
    SELECT
        b.budget, b.draws, r.sample, bool_and(r.clean_correct) AS is_right, any_value(r.clean_votes) AS clean_votes
    FROM members AS m JOIN stored AS s USING (budget) JOIN budgets AS b USING (budget)
    JOIN rows AS r ON r.case_id = m.case_id AND r.position < s.samples_wanted
    GROUP BY b.budget, b.draws, b.attacks, r.sample HAVING count(DISTINCT r.case_id) = b.attacks
), reached AS (
    SELECT
        b.budget, r.sample, r.target, r.case_id, r.success, r.second_success, r.adv_votes, r.second_votes,
        CASE WHEN list_contains(b.members, r.case_id) THEN without_eps(r.attack_label, r.eps_label)
            ELSE r.attack_label END AS attack, list_contains(b.members, r.case_id) AS is_member,
        distance_in(b.norm, r.l0, r.l1, r.l2, r.linf) AS distance, b.draws IS NOT NULL AS draws,
        count(*) FILTER (r.success) OVER (PARTITION BY b.budget, r.case_id) AS num_broken
    FROM budgets AS b
    JOIN rows AS r ON r.cell_id = b.cell_id AND r.draws IS NOT DISTINCT FROM b.draws
        AND r.space = b.space AND r.box = b.box
    WHERE distance > 0 AND is_within(distance, b.eps)
), nominated AS (
    SELECT
        budget, sample, arg_min({attack: attack, success: decided(true, success, second_success),
            votes: coalesce(second_votes, adv_votes), vote: CASE WHEN second_success IS NULL
                THEN 'first (too low)' ELSE 'second' END},
            (NOT success, adv_votes, CASE WHEN draws THEN (distance, case_id, target) END,
            -num_broken, NOT is_member, attack, case_id, target)) AS worst
    FROM reached GROUP BY budget, sample
), decided AS (
    SELECT
        s.budget, s.sample, n.worst.attack AS attack, s.is_right AND coalesce(n.worst.success, false) AS broken,
        s.is_right AND NOT broken AS robust, CASE WHEN s.draws IS NOT NULL THEN n.worst.vote END AS vote,
        chance(s.is_right, s.clean_votes, s.draws) * chance(NOT broken, n.worst.votes, s.draws) AS chance
    FROM seen AS s LEFT JOIN nominated AS n USING (budget, sample)
), counts AS (
    SELECT
        budget, count(*) AS n, count(*) FILTER (robust) AS k, avg(chance * (1 - chance)) AS doubt, min(vote) AS vote
    FROM decided GROUP BY budget
), named AS (
    SELECT budget, string_agg(attack || ' ' || num, ', ' ORDER BY num DESC, attack) AS decided_by
    FROM (SELECT budget, attack, count(*) AS num FROM decided WHERE broken GROUP BY budget, attack) GROUP BY budget
), lines AS (
    SELECT
        b.*, s.samples_wanted, s.fewest, c.vote, d.decided_by, c.doubt, coalesce(c.n, 0) AS n,
        CASE WHEN b.draws IS NULL THEN c.k ELSE min(c.k) OVER (
            PARTITION BY b.cell_id, b.draws, b.norm, b.space, b.box, c.n ORDER BY b.eps) END AS k
    FROM budgets AS b
    JOIN stored AS s USING (budget)
    LEFT JOIN counts AS c USING (budget)
    LEFT JOIN named AS d USING (budget)
)
SELECT
    b.cell_id,
    unnest(g.axes), b.variant, g.cell, b.attacks, b.norm, b.eps, b.eps_label, b.space, b.box, b.draws,
    b.k / nullif(b.n, 0) AS accuracy, voted_low(b.k, b.n, b.doubt) AS accuracy_low,
    voted_high(b.k, b.n, b.doubt) AS accuracy_high, b.vote, b.decided_by, b.n,
    b.n AS samples_stored, b.samples_wanted, b.n >= b.samples_wanted AS complete,
    CASE WHEN b.n < b.samples_wanted THEN b.fewest END AS limited_by
FROM lines AS b
JOIN base.grid_cells AS g ON g.grid = $grid AND g.cell_id = b.cell_id
ORDER BY g.axes, g.cell_label, g.cell_id, b.norm, b.eps, b.space, b.box, b.draws
