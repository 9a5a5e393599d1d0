-- How the cells of a grid were trained.
-- Grain: one row per epoch of each cell that the grid asks for; of one that is not trained yet, one row without an
--     epoch. Losses are means over images, accuracies shares, `seconds` those of the epoch. The loss and the accuracy
--     of training are of the images that were trained on, batch by batch; what was not measured is null.
-- Parameter: $grid, the name of the grid.
SELECT
    g.cell_id,
    unnest(g.axes), g.variant, g.cell,
    h.epoch, h.loss, h.train_accuracy, h.validation_loss, h.validation_objective, h.validation_accuracy, h.test_accuracy,
    h.lr, h.seconds,
    coalesce(c.trained, false) AS complete
FROM base.grid_cells AS g
LEFT JOIN cells AS c ON c.cell_id = g.cell_id
LEFT JOIN history AS h ON h.cell_id = g.cell_id
WHERE g.grid = $grid AND g.asked
ORDER BY g.axes, g.cell_label, g.cell_id, h.epoch
