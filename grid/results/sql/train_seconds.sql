-- What training costs.
-- Grain: one row per (dataset, architecture) with a trained cell, over all grids.
-- Parameters: none.
SELECT dataset, architecture, avg(seconds) AS seconds, count(seconds) AS n
FROM cells WHERE seconds IS NOT NULL
GROUP BY dataset, architecture ORDER BY dataset, architecture
