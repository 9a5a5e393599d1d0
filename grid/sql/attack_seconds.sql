-- What an attack costs.
-- Grain: one row per (attack, architecture, dataset) with a stored sample that was attacked, over all grids.
-- Parameters: none.
SELECT attack, architecture, dataset, avg(seconds) AS seconds, count(seconds) AS n
FROM samples WHERE attacked AND seconds IS NOT NULL
GROUP BY attack, architecture, dataset ORDER BY attack, architecture, dataset
