-- How often each attack changes the prediction, how sure the model is then, how far the images go, and what it costs.
-- Grain: one row per case of the grid. The rate, delta (mean and median distance in the case's own norm), rho (mean
--     relative distance: linf for linf, else l2), l2, steps and seconds are over all attacked samples, failures
--     included; the confidence and the medians of changed pixels and channel values are over the fooled ones.
--     fit_fooling_rate is what a prepare step says of the images it was fitted to. Distances are in units of `space`.
--     Where the attack aims at classes, a row with `targets` 'each' is over samples and targets, its intervals by
--     sample, and one with 'best' over samples, each with the target that fooled at the smallest distance.
-- Parameter: $grid, the name of the grid.
WITH rows AS (
    SELECT
        case_id, sample, target, adv_votes, fooled, second_fooled,
        distance_in(coalesce(norm, 'linf'), l0, l1, l2, linf) AS distance,
        CASE norm WHEN 'linf' THEN relative_linf ELSE relative_l2 END AS relative,
        adv_confidence AS confidence, l2, l0, l0_values, steps, seconds
    FROM base.attempts WHERE grid = $grid
), tried AS (
    SELECT * EXCLUDE (target), CASE WHEN target IS NOT NULL THEN 'each' END AS targets FROM rows
    UNION ALL BY NAME
    SELECT * REPLACE (decided(true, fooled, second_fooled) AS fooled) FROM (
        SELECT case_id, sample, 'best' AS targets, unnest(arg_min({fooled: fooled, second_fooled: second_fooled,
            distance: distance, relative: relative, confidence: confidence, l2: l2, l0: l0, l0_values: l0_values,
            steps: steps, seconds: seconds}, (NOT fooled, adv_votes, distance, target)))
        FROM rows WHERE target IS NOT NULL GROUP BY case_id, sample
    )
), by_sample AS (
    SELECT
        case_id, targets, sample, count(*) AS n, count(*) FILTER (fooled) AS k,
        sum(confidence::DOUBLE) FILTER (fooled) AS sure, count(confidence) FILTER (fooled) AS num_sure,
        sum(distance) AS far, count(distance) AS num_far
    FROM tried GROUP BY case_id, targets, sample
), rates AS (
    SELECT
        case_id, targets, sum(n)::BIGINT AS n, rate(k, n) AS fooling_rate, rate_low(k, n) AS fooling_rate_low,
        rate_high(k, n) AS fooling_rate_high, rate(sure, num_sure) AS confidence,
        ratio_low(sure, num_sure) AS confidence_low, ratio_high(sure, num_sure) AS confidence_high,
        rate(far, num_far) AS delta, ratio_low(far, num_far) AS delta_low, ratio_high(far, num_far) AS delta_high
    FROM by_sample GROUP BY case_id, targets
), measured AS (
    SELECT
        case_id, targets, median(distance) AS delta_median, avg(relative::DOUBLE) AS rho, avg(l2::DOUBLE) AS l2,
        median(l0) FILTER (fooled) AS pixels, median(l0_values) FILTER (fooled) AS "values",
        avg(steps) AS steps, avg(seconds) AS seconds
    FROM tried GROUP BY case_id, targets
), fitted AS (
    SELECT case_id, any_value(value) AS fit_fooling_rate FROM prepared WHERE fact = 'fooling_rate' GROUP BY case_id
), lines AS (
    SELECT
        a.*, v.draws, unnest(CASE WHEN v.targets IS NULL THEN [NULL] ELSE ['each', 'best'] END) AS targets
    FROM coverage AS a JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id WHERE a.grid = $grid
)
SELECT
    a.cell_id, a.case_id,
    unnest(g.axes), a.variant, g.cell, without_eps(a.attack_label, a.eps_label) AS attack,
    a.norm, a.eps, a.eps_label, a.space, a.box, a.draws, a.targets,
    r.fooling_rate, r.fooling_rate_low, r.fooling_rate_high, f.fit_fooling_rate, r.confidence, r.confidence_low,
    r.confidence_high, r.delta, r.delta_low, r.delta_high, m.delta_median, m.rho, m.l2, m.pixels, m."values", m.steps,
    m.seconds, coalesce(r.n, 0) AS n_attacked, a.samples_stored, a.samples_wanted, a.complete
FROM lines AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN rates AS r ON r.case_id = a.case_id AND r.targets IS NOT DISTINCT FROM a.targets
LEFT JOIN measured AS m ON m.case_id = a.case_id AND m.targets IS NOT DISTINCT FROM a.targets
LEFT JOIN fitted AS f ON f.case_id = a.case_id
ORDER BY g.axes, a.cell_label, a.cell_id, a.attack, a.norm,
    a.eps, a.attack_label, a.space, a.box, a.variant, a.case_id, a.targets DESC
