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

-- The standard deviation of a sample x, an aggregate; null below two values and where one is infinite.
CREATE MACRO deviation(x) AS CASE WHEN bool_and(isfinite(x)) THEN stddev_samp(x) FILTER (isfinite(x)) END;

-- Bounds of the 95 % interval of the mean of x, an aggregate: Wilson's where every value is 0 or 1, else normal and
-- null where the deviation is.
CREATE MACRO is_binary(x) AS bool_and(x IN (0, 1));
CREATE MACRO share_or_mean_low(x) AS CASE WHEN is_binary(x) THEN wilson_low(sum(x), count(x))
    ELSE avg(x) - 1.959964e0 * deviation(x) / sqrt(count(x)) END;
CREATE MACRO share_or_mean_high(x) AS CASE WHEN is_binary(x) THEN wilson_high(sum(x), count(x))
    ELSE avg(x) + 1.959964e0 * deviation(x) / sqrt(count(x)) END;

-- Bounds of the 95 % interval of a correlation r of n pairs, from Fisher's z = atanh(r); null below four pairs.
CREATE MACRO fisher(r, n, quantile) AS CASE WHEN n > 3 THEN
    CASE WHEN abs(r) < 1 THEN tanh(atanh(r) + quantile / sqrt(n - 3)) ELSE r END END;
CREATE MACRO correlation_low(r, n) AS fisher(r, n, -1.959964e0);
CREATE MACRO correlation_high(r, n) AS fisher(r, n, 1.959964e0);

-- The regularised incomplete beta function I_x(a, b) by its continued fraction, Abramowitz and Stegun 26.5.8, from
-- term 1000 backwards. It takes x < (a + 1) / (a + b + 2) and then some sqrt(max(a, b)) terms.
CREATE MACRO beta_term(a, b, x, i) AS
    CASE WHEN i % 2 = 0 THEN i // 2 * (b - i // 2) ELSE -(a + i // 2) * (a + b + i // 2) END
    * x / ((a + i - 1) * (a + i));
CREATE MACRO incomplete_beta(a, b, x) AS
    x ** a * (1 - x) ** b / (a * exp(lgamma(a) + lgamma(b) - lgamma(a + b)))
    / list_reduce(list_transform(range(1000, 0, -1), lambda i: beta_term(a, b, x, i)), lambda f, d: 1 + d / f, 1e0);

-- Two-sided p-value of a correlation r of n pairs, exact if one of the two is normal: Student's t with n - 2 degrees of
-- freedom is r sqrt((n - 2) / (1 - r^2)), and beyond it lies I_{1 - r^2}((n - 2) / 2, 1/2); null below three pairs.
CREATE MACRO correlation_p(r, n) AS CASE
    WHEN n < 3 THEN NULL
    WHEN r ** 2 * (n + 3) > 3 THEN incomplete_beta((n - 2) / 2, 0.5e0, (1 - r) * (1 + r))
    ELSE 1 - incomplete_beta(0.5e0, (n - 2) / 2, r ** 2)
END;

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

-- The labels of all blocks that ask for a thing, an aggregate; empty where none has a label.
CREATE MACRO variants(label) AS
    coalesce(string_agg(DISTINCT nullif(label, ''), ', ' ORDER BY nullif(label, '')), '');

-- Whether a probe measures a cell in every epoch of its training, and not as it is kept.
CREATE MACRO is_of_each_epoch(probe_json) AS coalesce(probe_json ->> '$.epochs', 'last') = 'each';
