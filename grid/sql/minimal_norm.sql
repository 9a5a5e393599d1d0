-- How often attacks without an eps succeed, and how far they go when they do.
-- Grain: one row per case of the grid whose budget has no eps. Success is a share of the attacked samples; distances,
--     in units of `space`, and steps are over the successful ones. Samples at or beyond the wanted count are left out.
-- Parameter: $grid, the name of the grid.
WITH rows AS (
    SELECT a.case_id, s.attacked, s.success, s.l2, s.linf, s.relative_l2, s.mse, s.steps
    FROM coverage AS a JOIN samples AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
    WHERE a.grid = $grid AND a.eps IS NULL
), measured AS (
    SELECT
        case_id, count(*) FILTER (attacked) AS n_attacked, count(*) FILTER (success) AS n_success,
        avg(l2) FILTER (success) AS mean_l2,
        mean_low(CASE WHEN success THEN l2 END) AS mean_l2_low,
        mean_high(CASE WHEN success THEN l2 END) AS mean_l2_high,
        median(l2::DOUBLE) FILTER (success) AS median_l2,
        avg(linf) FILTER (success) AS mean_linf, median(linf::DOUBLE) FILTER (success) AS median_linf,
        avg(relative_l2) FILTER (success) AS mean_relative_l2,
        median(relative_l2::DOUBLE) FILTER (success) AS median_relative_l2,
        avg(mse) FILTER (success) AS mean_mse, median(mse::DOUBLE) FILTER (success) AS median_mse,
        avg(steps) FILTER (success) AS mean_steps, median(steps) FILTER (success) AS median_steps
    FROM rows GROUP BY case_id
)
SELECT
    a.dataset, a.architecture, a.head, a.defense, a.activation, a.seed, a.variant, g.cell,
    a.attack_label AS attack, a.norm, a.space, a.box,
    m.n_success / nullif(m.n_attacked, 0) AS success_rate, wilson_low(m.n_success, m.n_attacked) AS success_rate_low,
    wilson_high(m.n_success, m.n_attacked) AS success_rate_high,
    coalesce(m.n_attacked, 0) AS n_attacked, coalesce(m.n_success, 0) AS n_success,
    m.* EXCLUDE (case_id, n_attacked, n_success), a.samples_stored, a.samples_wanted, a.complete
FROM coverage AS a
LEFT JOIN base.grid_cells AS g ON g.grid = a.grid AND g.cell_id = a.cell_id
LEFT JOIN measured AS m ON m.case_id = a.case_id
WHERE a.grid = $grid AND a.eps IS NULL
ORDER BY a.dataset, a.architecture, a.activation, a.head, a.defense, a.seed, a.cell_label, a.cell_id, a.variant,
    a.attack_label, a.norm, a.space, a.box, a.case_id
