-- The arithmetic that several questions share. 1.959964 is the 97.5 % quantile of the normal distribution.

-- Bounds of the 95 % Wilson score interval (Wilson 1927) of k successes among n; null if n is 0.
CREATE MACRO wilson_centre(k, n) AS (k + 1.959964e0 ** 2 / 2) / (n + 1.959964e0 ** 2);
CREATE MACRO wilson_radius(k, n) AS
    1.959964e0 * sqrt(k * (n - k) / n::DOUBLE + 1.959964e0 ** 2 / 4) / (n + 1.959964e0 ** 2);
CREATE MACRO wilson_low(k, n) AS
    CASE WHEN n > 0 THEN greatest(0, wilson_centre(k, n) - wilson_radius(k, n)) END;
CREATE MACRO wilson_high(k, n) AS
    CASE WHEN n > 0 THEN least(1, wilson_centre(k, n) + wilson_radius(k, n)) END;

-- Bounds of the 95 % normal interval of the mean of x, an aggregate; null below two values.
CREATE MACRO mean_low(x) AS avg(x::DOUBLE) - 1.959964e0 * stddev_samp(x::DOUBLE) / sqrt(count(x));
CREATE MACRO mean_high(x) AS avg(x::DOUBLE) + 1.959964e0 * stddev_samp(x::DOUBLE) / sqrt(count(x));

-- How many of the positions from a to b (exclusive) lie between low and high (exclusive).
CREATE MACRO overlap(a, b, low, high) AS greatest(0, least(b, high) - greatest(a, low));

-- The label of an attack without its eps, for a table that has the eps in a column of its own.
CREATE MACRO without_eps(label, eps) AS
    coalesce(replace(replace(label, '(eps=' || eps || ')', ''), '(eps=' || eps || ', ', '('), label);

-- The label of an attack without its source, for a table that has the source in columns of its own.
CREATE MACRO without_source(label, source) AS coalesce(
    replace(replace(replace(replace(label,
        '(source=' || source || ')', ''), '(source=' || source || ', ', '('),
        ', source=' || source || ', ', ', '), ', source=' || source || ')', ')'),
    label
);
