-- Accuracy over eps, from the distances of the images that were found.
-- Grain: one row per eps of each curve: a cell, number of draws (of a model that draws), norm, space and box for which
--     the grid has a case. The eps are the same for all cells: 0, those of the grid's budgets, and the 5, 10, ...,
--     100 % quantiles of the distances of the nearest successes, to three digits. A sample counts once all `attacks` of the curve's norm, space
--     and box have it, and is robust at an eps if no attack of the grid on the cell, of whatever norm, has found an
--     image of it within eps that is predicted otherwise. Between the eps of the attacks only what looks for the
--     nearest image tells, so that the accuracy is one that no attack here has gone below. Its band holds for all eps
--     of a curve at once (Dvoretzky, Kiefer and Wolfowitz; Massart 1990): 1.36 / sqrt(n) to either side. Of a model that
--     draws, the image within eps on which the first vote was worst is nominated and its second vote decides, and the
--     accuracy is no higher than at a smaller eps.
-- Parameter: $grid, the name of the grid.
WITH asked AS (
    SELECT a.*, v.draws FROM coverage AS a JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id
    WHERE a.grid = $grid
), curves AS (
    SELECT
        cell_id, draws, norm, space, box, list(case_id) AS members, count(*) AS attacks,
        min(samples_wanted) AS samples_wanted, row_number() OVER () AS curve
    FROM asked GROUP BY cell_id, draws, norm, space, box
), rows AS (
    FROM base.judged WHERE grid = $grid
), seen AS (
    SELECT c.curve, r.sample, bool_and(r.clean_correct) AS is_right
    FROM curves AS c JOIN rows AS r ON r.cell_id = c.cell_id AND list_contains(c.members, r.case_id)
        AND r.position < c.samples_wanted
    GROUP BY c.curve, c.attacks, r.sample HAVING count(DISTINCT r.case_id) = c.attacks
), reached AS (
    SELECT
        c.curve, r.sample, r.case_id, r.target, distance_in(c.norm, r.l0, r.l1, r.l2, r.linf) AS distance, r.success, r.adv_votes,
        decided(true, r.success, r.second_success) AS broken
    FROM curves AS c
    JOIN rows AS r ON r.cell_id = c.cell_id AND r.draws IS NOT DISTINCT FROM c.draws
        AND r.space = c.space AND r.box = c.box
    WHERE distance > 0
), ordered AS (
    SELECT
        *, min((NOT success, adv_votes)) OVER (
            PARTITION BY curve, sample ORDER BY distance, NOT success, adv_votes, case_id, target
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS worst_before
    FROM reached
), nominated AS (
    -- Each image that is worse than all nearer ones, and how far the next such image is.
    SELECT curve, sample, broken, distance, lead(distance, 1, 'infinity') OVER (
        PARTITION BY curve, sample ORDER BY distance, NOT success, adv_votes, case_id, target) AS until
    FROM ordered WHERE worst_before IS NULL OR (NOT success, adv_votes) < worst_before
), budgets AS (
    SELECT norm, space, box, list(DISTINCT eps) FILTER (eps IS NOT NULL) AS given FROM asked GROUP BY norm, space, box
), quantiles AS (
    SELECT norm, space, box, unnest(quantile_disc(distance, list_transform(range(1, 21), lambda i: i / 20))) AS found
    FROM nominated JOIN curves USING (curve) WHERE broken GROUP BY norm, space, box
), epsilons AS (
    SELECT norm, space, box, unnest(list_concat([0], given)) AS eps FROM budgets
    UNION
    -- In three digits, and not beside an eps that is there already.
    SELECT norm, space, box, round(found, 2 - floor(log10(found))::INT) AS eps FROM quantiles JOIN budgets
    USING (norm, space, box) WHERE len(list_filter(given, lambda e: abs(e - found) < 0.01 * e)) IS NOT DISTINCT FROM 0
        OR given IS NULL
), broken AS (
    SELECT c.curve, e.eps, count(*) AS num
    FROM curves AS c JOIN epsilons AS e USING (norm, space, box)
    JOIN nominated AS n ON n.curve = c.curve AND n.broken AND is_within(n.distance, e.eps) AND NOT is_within(n.until, e.eps)
    JOIN seen AS s ON s.curve = c.curve AND s.sample = n.sample AND s.is_right
    GROUP BY c.curve, e.eps
), counts AS (
    SELECT curve, count(*) AS n, count(*) FILTER (is_right) AS num_right FROM seen GROUP BY curve
), lines AS (
    SELECT c.*, e.eps, coalesce(n.n, 0) AS n,
        min(n.num_right - coalesce(b.num, 0)) OVER (PARTITION BY c.curve ORDER BY e.eps) AS k
    FROM curves AS c JOIN epsilons AS e USING (norm, space, box)
    LEFT JOIN counts AS n USING (curve)
    LEFT JOIN broken AS b ON b.curve = c.curve AND b.eps = e.eps
)
SELECT
    g.cell_id,
    unnest(g.axes), g.variant, g.cell, b.attacks, b.norm, b.space, b.box, b.draws, b.eps,
    b.k / nullif(b.n, 0) AS accuracy, CASE WHEN b.n > 0 THEN greatest(0, accuracy - band(b.n)) END AS accuracy_low,
    CASE WHEN b.n > 0 THEN least(1, accuracy + band(b.n)) END AS accuracy_high, b.n,
    b.n AS samples_stored, b.samples_wanted, b.n >= b.samples_wanted AS complete
FROM lines AS b
JOIN base.grid_cells AS g ON g.grid = $grid AND g.cell_id = b.cell_id
ORDER BY g.axes, g.cell_label, g.cell_id, b.norm, b.space, b.box, b.draws, b.eps
