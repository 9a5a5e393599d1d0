-- The views that every question starts from; each opens with its grain. Names are those of tasks/schema.py.
-- The schema `base` holds what lies beneath: the files as they are, the records that came with them, and the views with
-- the axes of a cell as one value, `axes`, which is compared axis by axis. What users see has a column for each axis.

-- One row per (grid, case, variant), and one per cell of a grid that has no attack, whatever is asked about.
CREATE VIEW base.all_wanted AS
SELECT f.grid, w.*, axes_of(w) AS axes, labels_of(w) AS labels
FROM base.wanted AS w JOIN base.wanted_files AS f USING (file_index);

-- Those that are asked about.
CREATE VIEW base.asked AS
SELECT a.* EXCLUDE (file_index, file_row_number)
FROM base.all_wanted AS a ANTI JOIN base.left_out AS o USING (file_index, file_row_number);

-- One row per (grid, case, variant), and one per cell of a grid that nothing is asked of.
CREATE VIEW wanted AS SELECT * EXCLUDE (axes, labels) FROM base.asked;

-- One row per (grid, published value, case).
CREATE VIEW published AS
SELECT f.grid, p.* EXCLUDE (file_index, file_row_number)
FROM base.published AS p JOIN base.published_files AS f USING (file_index)
WHERE (f.grid, p.case_id) IN (SELECT (grid, case_id) FROM base.asked);

-- One row per run.
CREATE VIEW runs AS FROM base.runs;

-- One row per stretch of positions of a case, of an attack or a probe, that is stored.
CREATE VIEW base.stored AS
SELECT case_id, start, skip, take FROM base.slices UNION ALL SELECT case_id, start, skip, take FROM base.measure_slices;

-- One row per (cell, epoch).
CREATE VIEW history AS
SELECT f.cell_id, h.* EXCLUDE (file_index, file_row_number)
FROM base.history AS h JOIN base.history_files AS f USING (file_index);

-- One row per (grid, cell). `samples_wanted` is the most that an attack on it wants. `cell` is its label where another
-- cell of the grid has the same axes, else null. `asked` is false where only other cells need it.
CREATE VIEW base.grid_cells AS
WITH asked AS (
    SELECT
        grid, cell_id, any_value(axes) AS axes, min(cell_label) AS cell_label, any_value(cell_json) AS cell_json,
        variants(variant) AS variant, coalesce(max(samples_wanted) FILTER (probe IS NULL), 0) AS samples_wanted,
        bool_or(asked) AS asked
    FROM base.asked GROUP BY grid, cell_id
)
SELECT *, CASE WHEN count(*) OVER (PARTITION BY grid, axes, variant) > 1 THEN cell_label END AS cell FROM asked;

-- One row per (grid, case).
CREATE VIEW base.grid_cases AS
SELECT
    grid, case_id, any_value(cell_id) AS cell_id, any_value(axes) AS axes, min(cell_label) AS cell_label,
    any_value(probe) AS probe, min(probe_label) AS probe_label,
    any_value(attack) AS attack, min(attack_label) AS attack_label, any_value(norm) AS norm, any_value(eps) AS eps,
    coalesce(nullif(min(eps_label), ''), any_value(eps)::VARCHAR) AS eps_label,
    any_value(space) AS space, any_value(box) AS box,
    any_value(source) AS source, any_value(source_cell_id) AS source_cell_id, any_value(prepared_id) AS prepared_id,
    variants(variant) AS variant, max(samples_wanted) AS samples_wanted
FROM base.asked WHERE case_id IS NOT NULL GROUP BY grid, case_id;

-- The cells, their axes as one value.
CREATE VIEW base.all_cells AS
WITH asked AS (
    SELECT cell_id, any_value(axes) AS axes, min(cell_label) AS cell_label, any_value(cell_json) AS cell_json
    FROM base.asked GROUP BY cell_id
)
SELECT
    cell_id, coalesce(a.axes, axes_in(t.cell)) AS axes, a.cell_label, t.cell_id IS NOT NULL AS trained,
    t.* EXCLUDE (cell_id, cell), coalesce(t.cell, a.cell_json) AS cell_json
FROM asked AS a FULL JOIN base.cells AS t USING (cell_id);

-- One row per cell that any grid wants or that is trained. `cell_label` is null where no grid wants it.
CREATE VIEW cells AS SELECT cell_id, axes.*, * EXCLUDE (cell_id, axes) FROM base.all_cells;

-- One row per training that is not done, with the last epoch that was told.
CREATE VIEW trainings AS FROM base.trainings;

-- The cases, the axes of their cells as one value.
CREATE VIEW base.all_cases AS
WITH asked AS (
    SELECT
        case_id, any_value(COLUMNS(* EXCLUDE (grid, case_id, cell_label, attack_label, probe_label, eps_label,
            variant, samples_wanted))),
        min(cell_label) AS cell_label, min(attack_label) AS attack_label, min(probe_label) AS probe_label,
        min(eps_label) AS eps_label, variants(variant) AS variant, max(samples_wanted) AS samples_wanted
    FROM base.grid_cases GROUP BY case_id
), stored AS (
    SELECT case_id, sum(take)::BIGINT AS samples_stored FROM base.stored GROUP BY case_id
)
SELECT a.*, coalesce(s.samples_stored, 0) AS samples_stored
FROM asked AS a LEFT JOIN stored AS s USING (case_id);

-- One row per case, of an attack or a probe, that any grid wants. `samples_wanted` is the most that one asks for.
CREATE VIEW cases AS SELECT case_id, cell_id, axes.*, * EXCLUDE (case_id, cell_id, axes) FROM base.all_cases;

-- One row per fact of what the prepare step of an attack made, and per case that uses it.
CREATE VIEW prepared AS
SELECT
    c.case_id, c.cell_id, unnest(c.axes), c.attack, c.attack_label, c.norm, c.eps, c.source, c.variant,
    p.* EXCLUDE (cell_id)
FROM base.prepared AS p JOIN base.all_cases AS c ON c.prepared_id = p.prepared_id;

-- One row per stored (case, sample, target) of a case that any grid wants. `position` is its rank in the order.
CREATE VIEW samples AS
SELECT
    r.* EXCLUDE (file_index, file_row_number, seed), s.start + r.file_row_number // s.rows AS position,
    c.cell_id, unnest(c.axes), c.cell_label,
    c.attack, c.attack_label, c.norm, c.eps, c.eps_label, c.space, c.box, c.source, c.variant
FROM base.samples AS r
JOIN base.slices AS s
    ON r.file_index = s.file_index AND r.file_row_number // s.rows >= s.skip
        AND r.file_row_number // s.rows < s.skip + s.take
JOIN base.all_cases AS c ON c.case_id = r.case_id;

-- One row per stored (probe's case, sample, epoch, layer, measure, element) that any grid wants. `position` is the rank
-- of the sample in the order. `epoch` is null for the cell as it is kept.
CREATE VIEW measures AS
SELECT
    r.* EXCLUDE (file_index, file_row_number, seed), s.start + r.file_row_number // s.rows AS position,
    c.cell_id, unnest(c.axes), c.cell_label, c.probe, c.probe_label, c.variant
FROM base.measures AS r
JOIN base.measure_slices AS s
    ON r.file_index = s.file_index AND r.file_row_number // s.rows >= s.skip
        AND r.file_row_number // s.rows < s.skip + s.take
JOIN base.all_cases AS c ON c.case_id = r.case_id;

-- One row per failure record. `resolved`: what failed has been done since.
CREATE VIEW failures AS
WITH done AS (
    SELECT f.rowid AS record, sum(overlap(
        s.start + s.skip, s.start + s.skip + s.take, coalesce(f.start, 0), coalesce(f.stop, s.start + s.skip + s.take)
    )) AS positions
    FROM base.failures AS f JOIN base.stored AS s USING (case_id) GROUP BY f.rowid
)
SELECT
    f.*, unnest(c.axes), c.cell_label, k.attack, k.attack_label, k.probe, k.probe_label, k.variant,
    CASE WHEN f.case_id IS NULL THEN coalesce(c.trained, false)
        ELSE coalesce(d.positions, 0) >= coalesce(f.stop - f.start, 1) END AS resolved
FROM base.failures AS f
LEFT JOIN base.all_cells AS c ON c.cell_id = f.cell_id
LEFT JOIN base.all_cases AS k ON k.case_id = f.case_id
LEFT JOIN done AS d ON d.record = f.rowid;

-- One row per (grid, case). `samples_stored` counts positions below `samples_wanted`; `failures` counts the unresolved
-- records that stand in its way: its own, and those of training its cell.
CREATE VIEW coverage AS
WITH stored AS (
    SELECT a.grid, a.case_id, sum(overlap(
        s.start + s.skip, s.start + s.skip + s.take, 0, a.samples_wanted
    ))::BIGINT AS positions
    FROM base.grid_cases AS a JOIN base.stored AS s USING (case_id) GROUP BY a.grid, a.case_id
), own AS (
    SELECT case_id, count(*) AS num FROM failures WHERE NOT resolved AND case_id IS NOT NULL GROUP BY case_id
), training AS (
    SELECT cell_id, count(*) AS num FROM failures WHERE NOT resolved AND case_id IS NULL GROUP BY cell_id
)
SELECT
    a.grid, a.case_id, a.cell_id, unnest(a.axes), a.* EXCLUDE (grid, case_id, cell_id, axes),
    coalesce(s.positions, 0) AS samples_stored, coalesce(s.positions, 0) >= a.samples_wanted AS complete,
    coalesce(o.num, 0) + coalesce(t.num, 0) AS failures
FROM base.grid_cases AS a
LEFT JOIN stored AS s ON s.grid = a.grid AND s.case_id = a.case_id
LEFT JOIN own AS o ON o.case_id = a.case_id
LEFT JOIN training AS t ON t.cell_id = a.cell_id;

-- One row per (grid, case) of an attack. `draws`: how many draws of the cell's model decide a prediction, null if it
-- draws none: an attack on such a one always says 1. `targets`: the classes aimed at, as JSON, or 'all'; null if
-- untargeted.
CREATE VIEW base.votes AS
WITH drawing AS (SELECT DISTINCT cell_id FROM main.samples WHERE draws IS NOT NULL), asked AS (
    SELECT
        grid, case_id, any_value(cell_id) AS cell_id, any_value((attack_json ->> '$.draws')::BIGINT) AS draws,
        any_value(attack_json ->> '$.targets') AS targets
    FROM main.wanted WHERE attack IS NOT NULL GROUP BY grid, case_id
)
SELECT
    a.grid, a.case_id, a.targets,
    CASE WHEN a.draws > 1 OR d.cell_id IS NOT NULL THEN coalesce(a.draws, 1) END AS draws
FROM asked AS a LEFT JOIN drawing AS d USING (cell_id);

-- One row per sample (and target) of a grid, below the wanted count, attacked or not. `fooled`: the prediction changed.
CREATE VIEW base.judged AS
SELECT
    a.grid, s.* EXCLUDE (draws), v.draws, coalesce(s.adv_pred <> s.clean_pred, false) AS fooled,
    coalesce(s.second_pred <> s.clean_pred, fooled) AS second_fooled
FROM base.grid_cases AS a
JOIN main.samples AS s ON s.case_id = a.case_id AND s.position < a.samples_wanted
JOIN base.votes AS v ON v.grid = a.grid AND v.case_id = a.case_id;

-- Those that were attacked.
CREATE VIEW base.attempts AS FROM base.judged WHERE attacked;
