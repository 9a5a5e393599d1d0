-- Whether every wanted sample is stored and every cell trained.
-- Grain: one row.
-- Parameters: none.
SELECT
    NOT EXISTS (FROM coverage WHERE NOT complete) AND NOT EXISTS (FROM cells WHERE NOT trained) AS is_complete
