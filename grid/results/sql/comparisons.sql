-- Published values beside what was measured: beside each cell, and beside the mean over seeds.
-- A published rate has the Wilson interval of the `published_n` images it is over; any other number one as wide as the
-- measured one would be over so many. Both are narrower where a value is over some of the images (the successful ones).
-- What is measured is as the tables have it: accuracies as in robust_accuracy, rates as in transfer.

-- One row per (grid, case, metric) of a case that a value is published about.
CREATE VIEW base.measured AS
WITH rows AS (
    FROM base.judged WHERE (grid, case_id) IN (SELECT (grid, case_id) FROM main.published)
), by_sample AS (
    SELECT
        grid, case_id, sample, bool_and(clean_correct) AS clean, count(*) FILTER (attacked) AS attacked,
        count(*) FILTER (success) AS success, count(*) FILTER (fooled) AS fooled,
        count(*) > 1 AS chosen,
        arg_min({success: success, second: second_success}, (NOT success, adv_votes, target)) AS worst
    FROM rows GROUP BY grid, case_id, sample
), rates AS (
    SELECT
        grid, case_id, count(*) AS n, count(*) FILTER (clean) AS clean,
        count(*) FILTER (clean AND NOT decided(chosen, worst.success, worst.second)) AS robust,
        sum(attacked)::BIGINT AS attacked,
        {value: rate(success, attacked), low: rate_low(success, attacked),
            high: rate_high(success, attacked)} AS success,
        {value: rate(fooled, attacked), low: rate_low(fooled, attacked), high: rate_high(fooled, attacked)} AS fooled
    FROM by_sample GROUP BY grid, case_id
)
SELECT grid, case_id, unnest([
    {metric: 'clean_accuracy', value: clean / nullif(n, 0), low: wilson_low(clean, n),
        high: wilson_high(clean, n), n: n},
    {metric: 'robust_accuracy', value: robust / nullif(n, 0), low: wilson_low(robust, n),
        high: wilson_high(robust, n), n: n},
    {metric: 'success_rate', value: success.value, low: success.low, high: success.high, n: attacked},
    {metric: 'fooling_rate', value: fooled.value, low: fooled.low, high: fooled.high, n: attacked}
], recursive := true) FROM rates
UNION ALL BY NAME
SELECT
    grid, case_id, metric, rate(total, num) AS value, ratio_low(total, num) AS low, ratio_high(total, num) AS high,
    sum(num)::BIGINT AS n
FROM (SELECT grid, case_id, metric, sample, sum(x) AS total, count(x) AS num FROM (
    SELECT grid, case_id, sample, unnest([
        {metric: 'mean_l2', x: l2::DOUBLE}, {metric: 'mean_linf', x: linf::DOUBLE},
        {metric: 'mean_mse', x: mse::DOUBLE}, {metric: 'mean_relative_l2', x: relative_l2::DOUBLE},
        {metric: 'mean_steps', x: steps::DOUBLE}
    ], recursive := true) FROM rows WHERE success
    UNION ALL
    SELECT grid, case_id, sample, 'confidence_fooled', adv_confidence::DOUBLE FROM rows WHERE fooled
    UNION ALL
    SELECT grid, case_id, sample, unnest([
        {metric: 'delta_l2', x: l2::DOUBLE}, {metric: 'delta_linf', x: linf::DOUBLE},
        {metric: 'delta_mse', x: mse::DOUBLE},
        {metric: 'rho_l2', x: relative_l2::DOUBLE}, {metric: 'rho_linf', x: relative_linf::DOUBLE},
        {metric: 'centred_rho_l2', x: centred_l2::DOUBLE}, {metric: 'centred_rho_linf', x: centred_linf::DOUBLE},
        {metric: 'steps', x: steps::DOUBLE}, {metric: 'seconds', x: seconds::DOUBLE}
    ], recursive := true) FROM rows WHERE attacked
) GROUP BY grid, case_id, metric, sample) GROUP BY grid, case_id, metric
UNION ALL BY NAME
SELECT grid, case_id, metric, median(x) AS value, NULL AS low, NULL AS high, count(x) AS n
FROM (
    SELECT grid, case_id, unnest([
        {metric: 'median_l0', x: l0::DOUBLE}, {metric: 'median_l0_values', x: l0_values::DOUBLE}
    ], recursive := true) FROM rows WHERE success
) GROUP BY grid, case_id, metric
UNION ALL BY NAME
SELECT grid, case_id, 'class_accuracy' AS metric, avg(share) AS value, NULL AS low, NULL AS high, sum(n)::BIGINT AS n
FROM (
    SELECT
        grid, case_id, label, count(*) AS n,
        avg((CASE WHEN adv_pred IS NULL THEN clean_correct ELSE adv_pred = label END)::INT) AS share
    FROM rows WHERE target IS NULL OR target <> label GROUP BY grid, case_id, label
) GROUP BY grid, case_id
UNION ALL BY NAME
SELECT
    p.grid, f.case_id, 'fit_' || f.fact AS metric, any_value(f.value) AS value, NULL AS low, NULL AS high, 1 AS n
FROM main.prepared AS f JOIN main.published AS p USING (case_id)
WHERE f.fact IN ('fooling_rate', 'passes') GROUP BY p.grid, f.case_id, f.fact;

-- One row per (grid, published value, variant, case), and (`over` is seed) one per mean over the cases that differ in
-- their seeds alone, a source that shares the seed of its cell with it.
CREATE VIEW base.compared AS
WITH sources AS (
    SELECT cell_id, any_value(cell_json) AS cell_json FROM base.all_wanted GROUP BY cell_id
), asked AS (
    SELECT
        p.grid, p.source AS published_in, p.metric, p.value AS published, p.n AS published_n,
        coalesce(p.over, '') AS is_over, p.note, o.over, w.variant, w.space, w.box, w.attack, w.norm, w.eps, w.source,
        c.eps_label, w.attack_label, w.cell_label, w.cell_id, w.case_id, c.samples_stored, c.samples_wanted, c.complete,
        CASE o.over WHEN 'seed' THEN without_seed(w.labels) ELSE w.labels END AS labels,
        CASE o.over WHEN 'seed' THEN {cell: json_merge_patch(w.cell_json, '{"seed": null}')::VARCHAR,
            under: w.attack_json, seen: json_merge_patch(s.cell_json, '{"seed": null}')::VARCHAR}
            ELSE {cell: w.case_id, under: NULL, seen: NULL} END AS same,
        m.value, m.low, m.high, m.n
    FROM main.published AS p
    JOIN (SELECT DISTINCT ON (grid, case_id, variant) * FROM base.asked) AS w
        ON w.grid = p.grid AND w.case_id = p.case_id
    JOIN main.coverage AS c ON c.grid = p.grid AND c.case_id = p.case_id
    LEFT JOIN sources AS s ON s.cell_id = w.source_cell_id
    LEFT JOIN base.measured AS m ON m.grid = p.grid AND m.case_id = p.case_id AND m.metric = p.metric
    CROSS JOIN (VALUES (''), ('seed')) AS o (over)
), together AS (
    SELECT
        grid, published_in, metric, published, published_n, is_over, note, over, variant, space, box, attack, norm, eps,
        labels, same, min(source) AS source,
        min(eps_label) AS eps_label, min(attack_label) AS attack_label, min(cell_label) AS cell_label,
        min(cell_id) AS cell_id, min(case_id) AS case_id, sum(samples_stored)::BIGINT AS samples_stored,
        min(samples_wanted) AS samples_wanted, bool_and(complete) AS complete,
        avg(value) AS value, CASE WHEN count(low) = count(value) THEN avg(low) END AS low,
        CASE WHEN count(high) = count(value) THEN avg(high) END AS high, sum(n)::BIGINT AS n,
        count(value) AS over_n, count(*) AS over_wanted,
        stddev_samp(value) AS sd, min(value) AS lowest, max(value) AS highest,
        student_quantile(over_n - 1) * sd * sqrt(CASE is_over WHEN 'seed' THEN 0 ELSE 1 END + 1 / over_n) AS radius
    FROM asked
    GROUP BY grid, published_in, metric, published, published_n, is_over, note, over, variant, space, box, attack, norm,
        eps, labels, same
), bounded AS (
    SELECT
        * EXCLUDE (sd, radius), CASE WHEN over = 'seed' THEN sd END AS sd, metric LIKE '%\_accuracy' ESCAPE '\'
            OR metric LIKE '%\_rate' ESCAPE '\' AS is_share,
        CASE WHEN over = 'seed' THEN value - radius END AS over_low,
        CASE WHEN over = 'seed' THEN value + radius END AS over_high,
        published_n * least(1, n / nullif(samples_stored, 0)) AS num_published,
        least(low, coalesce(over_low, low)) AS least_measured, greatest(high, coalesce(over_high, high)) AS most_measured
    FROM together
), judged AS (
    SELECT
        *,
        CASE WHEN is_share THEN wilson_low(published * num_published, num_published)
            ELSE published - (high - low) / 2 * sqrt(n / over_n / nullif(num_published, 0)) END AS published_low,
        CASE WHEN is_share THEN wilson_high(published * num_published, num_published)
            ELSE published + (high - low) / 2 * sqrt(n / over_n / nullif(num_published, 0)) END AS published_high,
        CASE
            WHEN variant = 'corrected' THEN 'another procedure (corrected)'
            WHEN coalesce(samples_stored, 0) = 0 THEN 'nothing is stored'
            WHEN NOT complete THEN 'incomplete'
            WHEN value IS NULL THEN 'no sample has a value'
            WHEN metric = 'seconds' THEN 'time of another machine'
            WHEN samples_wanted * 10 < published_n THEN samples_wanted || ' samples, published of ' || published_n
            WHEN is_over = 'seed' AND over_n < 2 THEN 'published is a mean over seeds: one seed'
            WHEN published_low IS NULL AND least_measured IS NULL THEN 'neither has an interval'
        END AS reason
    FROM bounded
)
SELECT
    * EXCLUDE (least_measured, most_measured, num_published, is_share),
    CASE
        WHEN reason IS NOT NULL THEN 'not comparable'
        WHEN published BETWEEN least_measured AND most_measured THEN 'agree'
        WHEN value BETWEEN published_low AND published_high THEN 'agree'
        ELSE 'differ'
    END AS verdict
FROM judged;

-- One row per (grid, published value, variant, case); of a value that is a mean over seeds, one per mean over the cases
-- that differ in their seeds alone. `verdict`: agree where the one number lies in the interval of the other, differ
-- where it is outside both, or not comparable, with the `reason`. `measured_low`, `measured_high`: about other samples;
-- `over_low`, `over_high`: about other seeds (Student's t), as many or, where
-- `over` is empty, one more.
CREATE VIEW comparisons AS
SELECT
    grid, published_in, metric, is_over AS over, published, published_low, published_high, published_n,
    value AS measured, low AS measured_low, high AS measured_high, n AS measured_n, over_low, over_high, sd, lowest,
    highest, over_n, over_wanted, verdict, reason, unnest(labels), variant, cell_id, case_id, attack, attack_label, norm,
    eps, eps_label, space, box, source, samples_stored, complete, note
FROM base.compared WHERE over = is_over;
