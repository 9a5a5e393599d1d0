-- Published values beside what was measured.
-- Grain: one row per published value. A value that is about several cases, one per variant, is one row: what the
--     variants `published` and `corrected` measure stands in `as_published` and `corrected`, and any other in
--     `measured`. Where a variant has two cases of the same axes, each has its own row. Where the variants differ in
--     `space` or in `box` (yes or no), it names both, that of `published` first. Architecture, activation and
--     defense are named with the parameters that are not defaults.
--     Intervals are by sample, also where it has several targets.
--     A value that is a mean over seeds (`over`) stands beside the mean over the grid's, any other beside each cell.
--     `verdict` is about what has the variant `published`, or else none: agree, where the one number lies in the
--     interval of the other; differ, where it is outside both; not comparable, with the `reason`. The published
--     interval is Wilson's of so many images as the spec says, or the test split has (`published_n`), and of a value
--     that is no rate as wide as the measured one would be over so many. The measured one is the wider of that about
--     other samples and, of a mean over seeds, that about other seeds (Student's t): about their mean, or about one
--     training more where the published value is of one.
--     `n` is what a value is over: all samples, and targets (accuracies), the attacked (success_rate, fooling_rate,
--     delta, rho, steps, seconds), the successful (means, medians), the fooled (confidence_fooled), one fit (fit_*).
--     It is null where the grid wants no such case, and 0 where nothing is stored yet. `complete`: all the row's
--     cases are.
-- Parameters: $grid, the name of the grid; $over, seed for a mean over seeds whatever the value is, or empty.
WITH placed AS (
    SELECT
        {source: published_in, metric: metric, published: published, note: note, labels: labels,
            attack: attack, norm: norm, eps: eps, transfer_from: source, over: nullif(over, ''),
            variant: CASE WHEN variant NOT IN ('published', 'corrected') THEN variant END} AS about,
        space, CASE WHEN box THEN 'yes' ELSE 'no' END AS box, attack_label, eps_label, complete, published_n,
        published_low, published_high, cell_id, case_id, verdict, reason, over_n, over_wanted,
        CASE WHEN variant IN ('published', 'corrected') THEN variant ELSE 'measured' END AS place,
        {value: value, low: low, high: high, n: coalesce(n, 0), over_low: over_low, over_high: over_high, sd: sd,
            lowest: CASE over WHEN 'seed' THEN lowest END, highest: CASE over WHEN 'seed' THEN highest END,
            over_n: CASE over WHEN 'seed' THEN over_n END} AS number,
        row_number() OVER (PARTITION BY about, place ORDER BY cell_label, attack_label, case_id) AS line
    FROM base.compared WHERE grid = $grid AND over = CASE $over WHEN '' THEN is_over ELSE $over END
), lines AS (
    SELECT
        about, line, min(without_eps(attack_label, eps_label)) AS attack_label, min(eps_label) AS eps_label,
        CASE WHEN count(DISTINCT space) = 1 THEN min(space)
            ELSE string_agg(space, ', ' ORDER BY place DESC) END AS space,
        CASE WHEN count(DISTINCT box) = 1 THEN min(box) ELSE string_agg(box, ', ' ORDER BY place DESC) END AS box,
        any_value(number) FILTER (place = 'published') AS p,
        any_value(number) FILTER (place = 'corrected') AS c,
        any_value(number) FILTER (place = 'measured') AS m,
        bool_and(complete) AS complete,
        -- Of the places, `published` is the last in the alphabet and `corrected` the first.
        unnest(max_by({published_low: published_low, published_high: published_high, published_n: published_n,
            verdict: verdict, reason: reason, cell_id: cell_id, case_id: case_id, over_stored: over_n,
            over_wanted: over_wanted}, place))
    FROM placed GROUP BY about, line
)
SELECT
    cell_id, case_id,
    about.source, unnest(about.labels), about.variant,
    CASE WHEN count(*) OVER (PARTITION BY about) > 1 THEN attack_label ELSE about.attack END AS attack,
    about.norm, about.eps, eps_label, space, box, about.transfer_from, about.over, about.metric,
    about.published, published_low, published_high, published_n,
    p.value AS as_published, p.low AS as_published_low, p.high AS as_published_high, p.n AS as_published_n,
    p.over_low AS as_published_over_low, p.over_high AS as_published_over_high, p.sd AS as_published_sd,
    p.lowest AS as_published_lowest, p.highest AS as_published_highest, p.over_n AS as_published_over_n,
    c.value AS corrected, c.low AS corrected_low, c.high AS corrected_high, c.n AS corrected_n,
    c.over_low AS corrected_over_low, c.over_high AS corrected_over_high, c.sd AS corrected_sd,
    c.lowest AS corrected_lowest, c.highest AS corrected_highest, c.over_n AS corrected_over_n,
    m.value AS measured, m.low AS measured_low, m.high AS measured_high, m.n AS measured_n,
    m.over_low AS measured_over_low, m.over_high AS measured_over_high, m.sd AS measured_sd,
    m.lowest AS measured_lowest, m.highest AS measured_highest, m.over_n AS measured_over_n,
    CASE WHEN about.over IS NOT NULL THEN over_stored END AS over_stored,
    CASE WHEN about.over IS NOT NULL THEN over_wanted END AS over_wanted,
    verdict, reason, complete, about.note
FROM lines
ORDER BY about.source, about.labels, attack, about.norm, about.eps, about.transfer_from, about.metric, about, line
