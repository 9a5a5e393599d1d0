-- Published values beside what was measured.
-- Grain: one row per published value. A value that is about several cases, one per variant, is one row: what the
--     variants `published` and `corrected` measure stands in `as_published` and `corrected`, and any other in
--     `measured`. Where a variant has two cases of the same axes, each has its own row. Where the variants differ in
--     `space` or in `box` (yes or no), it names both, that of `published` first. Architecture, activation and
--     defense are named with the parameters that are not defaults.
--     `n` is what a value is over: all samples, and targets (accuracies), the attacked (success_rate, fooling_rate,
--     delta, rho, steps, seconds), the successful (means, medians), the fooled (confidence_fooled), one fit (fit_*).
--     It is null where the grid wants no such case, and 0 where nothing is stored yet. `complete`: all the row's
--     cases are.
-- Parameter: $grid, the name of the grid.
WITH rows AS (
    SELECT
        a.case_id, s.sample, s.label, s.target, s.clean_correct, s.clean_pred, s.adv_pred, s.attacked, s.success,
        s.adv_confidence, s.l0, s.l0_values, s.l2, s.linf, s.mse, s.relative_l2, s.relative_linf, s.centred_l2, s.centred_linf, s.steps,
        s.seconds, s.attacked AND coalesce(s.adv_pred <> s.clean_pred, false) AS fooled
    FROM coverage AS a JOIN samples AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE a.grid = $grid AND a.case_id IN (SELECT case_id FROM published WHERE grid = $grid)
), rates AS (
    SELECT
        case_id, count(DISTINCT sample) AS n, n - count(DISTINCT sample) FILTER (NOT clean_correct) AS clean,
        n - count(DISTINCT sample) FILTER (success OR NOT clean_correct) AS robust,
        count(*) FILTER (attacked) AS attacked, count(*) FILTER (success) AS success,
        count(*) FILTER (fooled) AS fooled
    FROM rows GROUP BY case_id
), measured AS (
    SELECT case_id, unnest([
        {metric: 'clean_accuracy', value: clean / nullif(n, 0), low: wilson_low(clean, n),
            high: wilson_high(clean, n), n: n},
        {metric: 'robust_accuracy', value: robust / nullif(n, 0), low: wilson_low(robust, n),
            high: wilson_high(robust, n), n: n},
        {metric: 'success_rate', value: success / nullif(attacked, 0), low: wilson_low(success, attacked),
            high: wilson_high(success, attacked), n: attacked},
        {metric: 'fooling_rate', value: fooled / nullif(attacked, 0), low: wilson_low(fooled, attacked),
            high: wilson_high(fooled, attacked), n: attacked}
    ], recursive := true) FROM rates
    UNION ALL BY NAME
    SELECT case_id, metric, avg(x) AS value, mean_low(x) AS low, mean_high(x) AS high, count(x) AS n
    FROM (
        SELECT case_id, unnest([
            {metric: 'mean_l2', x: l2::DOUBLE}, {metric: 'mean_linf', x: linf::DOUBLE},
            {metric: 'mean_mse', x: mse::DOUBLE}, {metric: 'mean_relative_l2', x: relative_l2::DOUBLE},
            {metric: 'mean_steps', x: steps::DOUBLE}
        ], recursive := true) FROM rows WHERE success
        UNION ALL
        SELECT case_id, 'confidence_fooled', adv_confidence::DOUBLE FROM rows WHERE fooled
        UNION ALL
        SELECT case_id, unnest([
            {metric: 'delta_l2', x: l2::DOUBLE}, {metric: 'delta_linf', x: linf::DOUBLE},
            {metric: 'delta_mse', x: mse::DOUBLE},
            {metric: 'rho_l2', x: relative_l2::DOUBLE}, {metric: 'rho_linf', x: relative_linf::DOUBLE},
            {metric: 'centred_rho_l2', x: centred_l2::DOUBLE}, {metric: 'centred_rho_linf', x: centred_linf::DOUBLE},
            {metric: 'steps', x: steps::DOUBLE}, {metric: 'seconds', x: seconds::DOUBLE}
        ], recursive := true) FROM rows WHERE attacked
    ) GROUP BY case_id, metric
    UNION ALL BY NAME
    SELECT case_id, metric, median(x) AS value, NULL AS low, NULL AS high, count(x) AS n
    FROM (
        SELECT case_id, unnest([
            {metric: 'median_l0', x: l0::DOUBLE}, {metric: 'median_l0_values', x: l0_values::DOUBLE}
        ], recursive := true) FROM rows WHERE success
    ) GROUP BY case_id, metric
    UNION ALL BY NAME
    SELECT case_id, 'class_accuracy' AS metric, avg(share) AS value, NULL AS low, NULL AS high, sum(n) AS n
    FROM (
        SELECT
            case_id, label, count(*) AS n,
            avg((CASE WHEN adv_pred IS NULL THEN clean_correct ELSE adv_pred = label END)::INT) AS share
        FROM rows WHERE target IS NULL OR target <> label GROUP BY case_id, label
    ) GROUP BY case_id
    UNION ALL BY NAME
    SELECT case_id, 'fit_' || fact AS metric, any_value(value) AS value, NULL AS low, NULL AS high, 1 AS n
    FROM prepared WHERE fact IN ('fooling_rate', 'passes') GROUP BY case_id, fact
), asked AS (
    SELECT
        {source: p.source, metric: p.metric, published: p.value, note: p.note, labels: w.labels,
            attack: w.attack, norm: w.norm, eps: w.eps, transfer_from: w.source,
            variant: CASE WHEN w.variant NOT IN ('published', 'corrected') THEN w.variant END} AS about,
        p.metric, w.space, CASE WHEN w.box THEN 'yes' ELSE 'no' END AS box, w.attack_label, w.cell_label, w.case_id,
        c.eps_label, c.complete,
        CASE WHEN w.variant IN ('published', 'corrected') THEN w.variant ELSE 'measured' END AS place
    FROM published AS p
    JOIN (SELECT DISTINCT ON (grid, case_id, variant) * FROM base.asked) AS w ON w.grid = p.grid AND w.case_id = p.case_id
    JOIN coverage AS c ON c.grid = p.grid AND c.case_id = p.case_id
    WHERE p.grid = $grid
), placed AS (
    SELECT
        a.*, m.value, m.low, m.high, coalesce(m.n, 0) AS n,
        row_number() OVER (PARTITION BY about, place ORDER BY cell_label, attack_label, case_id) AS line
    FROM asked AS a LEFT JOIN measured AS m USING (case_id, metric)
), lines AS (
    SELECT
        about, line, min(without_eps(attack_label, eps_label)) AS attack_label, min(eps_label) AS eps_label,
        CASE WHEN count(DISTINCT space) = 1 THEN min(space)
            ELSE string_agg(space, ', ' ORDER BY place DESC) END AS space,
        CASE WHEN count(DISTINCT box) = 1 THEN min(box) ELSE string_agg(box, ', ' ORDER BY place DESC) END AS box,
        any_value({value: value, low: low, high: high, n: n}) FILTER (place = 'published') AS p,
        any_value({value: value, low: low, high: high, n: n}) FILTER (place = 'corrected') AS c,
        any_value({value: value, low: low, high: high, n: n}) FILTER (place = 'measured') AS m,
        bool_and(complete) AS complete
    FROM placed GROUP BY about, line
)
SELECT
    about.source, unnest(about.labels), about.variant,
    CASE WHEN count(*) OVER (PARTITION BY about) > 1 THEN attack_label ELSE about.attack END AS attack,
    about.norm, eps_label AS eps, space, box, about.transfer_from, about.metric, about.published,
    p.value AS as_published, p.low AS as_published_low, p.high AS as_published_high, p.n AS as_published_n,
    c.value AS corrected, c.low AS corrected_low, c.high AS corrected_high, c.n AS corrected_n,
    m.value AS measured, m.low AS measured_low, m.high AS measured_high, m.n AS measured_n,
    complete, about.note
FROM lines
ORDER BY about.source, about.labels, attack, about.norm, about.eps, about.transfer_from, about.metric, about, line
