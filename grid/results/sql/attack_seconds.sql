-- What an attack or a probe costs.
-- Grain: one row per (attack or probe, architecture, dataset) with a stored sample, over all grids.
-- Parameters: none.
SELECT attack, architecture, dataset, avg(seconds) AS seconds, count(seconds) AS n
FROM samples WHERE attacked AND seconds IS NOT NULL GROUP BY attack, architecture, dataset
UNION ALL
SELECT probe AS attack, architecture, dataset, avg(seconds) AS seconds, count(DISTINCT (case_id, sample)) AS n
FROM measures WHERE epoch IS NULL GROUP BY probe, architecture, dataset
ORDER BY attack, architecture, dataset
