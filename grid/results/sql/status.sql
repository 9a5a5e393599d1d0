-- What is done, missing and failed.
-- Grain: one row per (grid, case). `training` is the epoch of a training of its cell that is not done.
-- Parameters: none.
SELECT
    grid, cell_label AS cell, coalesce(attack_label, probe_label) AS attack_or_probe, samples_stored AS done,
    samples_wanted - samples_stored AS missing, failures AS failed,
    'epoch ' || t.epoch || '/' || t.epochs AS training
FROM coverage LEFT JOIN trainings AS t USING (cell_id)
ORDER BY ALL
