-- The arithmetic that several questions share. 1.959964 is the 97.5 % quantile of the normal distribution.

-- Bounds of the 95 % Wilson score interval (Wilson 1927) of k successes among n; null if n is 0.
CREATE MACRO wilson_centre(k, n) AS (k + 1.959964e0 ** 2 / 2) / (n + 1.959964e0 ** 2);
CREATE MACRO wilson_radius(k, n) AS
    1.959964e0 * sqrt(k * (n - k) / n::DOUBLE + 1.959964e0 ** 2 / 4) / (n + 1.959964e0 ** 2);
CREATE MACRO wilson_low(k, n) AS
    CASE WHEN n > 0 THEN greatest(0, wilson_centre(k, n) - wilson_radius(k, n)) END;
CREATE MACRO wilson_high(k, n) AS
    CASE WHEN n > 0 THEN least(1, wilson_centre(k, n) + wilson_radius(k, n)) END;

-- How many independent rows say as much as those of samples that have several each, one for each target: k of a sample's n
-- rows are hits; an aggregate over samples. The variance of sum(k) / sum(n) from sample to sample, over that of as many
-- independent rows, is the design effect (Kish 1965) by which their number is divided for Wilson's interval (Dean and
-- Pagano 2015). It is found with two more samples of the mean size, one all hits and one without (as Agresti and Coull
-- add to a share): so few hits, or none, do not pass for certainty. With a row each it is the number of samples; where
-- all rows of all samples are alike too.
CREATE MACRO mean_size(n) AS sum(n) / nullif(count(n) FILTER (n > 0), 0);
CREATE MACRO shrunk_rate(k, n) AS (sum(k) + mean_size(n)) / (sum(n) + 2 * mean_size(n));
CREATE MACRO design_effect(k, n) AS (
    sum(k * k) - 2 * shrunk_rate(k, n) * sum(k * n) + shrunk_rate(k, n) ** 2 * sum(n * n)
    + mean_size(n) ** 2 * (shrunk_rate(k, n) ** 2 + (1 - shrunk_rate(k, n)) ** 2)
) / (shrunk_rate(k, n) * (1 - shrunk_rate(k, n)) * (sum(n) + 2 * mean_size(n)));
CREATE MACRO effective_n(k, n) AS sum(n) / greatest(1, design_effect(k, n));
CREATE MACRO rate(k, n) AS sum(k) / nullif(sum(n), 0);
CREATE MACRO rate_low(k, n) AS wilson_low(rate(k, n) * effective_n(k, n), effective_n(k, n));
CREATE MACRO rate_high(k, n) AS wilson_high(rate(k, n) * effective_n(k, n), effective_n(k, n));

-- Bounds of the 95 % normal interval of the mean of values of which a sample has several: x is a sample's sum and n their
-- number, an aggregate. `spread` sums the squares of x - n times the mean. The standard error is that of a ratio from
-- sample to sample (Cochran 1977, 2.39), which is the usual one where n is 1. Null below two samples.
CREATE MACRO spread(x, n) AS
    regr_syy(x, n) - 2 * (sum(x) / sum(n)) * regr_sxy(x, n) + (sum(x) / sum(n)) ** 2 * regr_sxx(x, n);
CREATE MACRO ratio_radius(x, n) AS CASE WHEN count(x) FILTER (n > 0) > 1 THEN
    1.959964e0 * sqrt(greatest(0, spread(x, n)) * count(x) FILTER (n > 0) / (count(x) FILTER (n > 0) - 1)) / sum(n) END;
CREATE MACRO ratio_low(x, n) AS rate(x, n) - ratio_radius(x, n);
CREATE MACRO ratio_high(x, n) AS rate(x, n) + ratio_radius(x, n);

-- Of a vote of `draws` draws in which `share` had the label, whether the label won: how likely it does in another such
-- vote. The difference of the two votes is normal with twice the variance of a throw of coins, at most, and the
-- logistic function of 1.702 z is the normal one within 0.01 (Haley 1952). Without a vote it is certain.
CREATE MACRO chance(won, share, draws) AS CASE WHEN share IS NULL OR draws IS NULL THEN won::INT::DOUBLE ELSE
    abs((NOT won)::INT - 1 / (1 + exp(-1.702e0 * abs(2 * share - 1) * sqrt(draws / 2)))) END;

-- Wilson's interval of k of n samples whose votes may fall otherwise: `doubt` is the mean variance c (1 - c) of such a
-- chance c, which is added to that of the samples. Where each sample has noise of its own, samples at random have it in
-- them already (law of total variance), and the interval errs on the wide side; where samples share their noise, as
-- with noise in weights, they have not.
CREATE MACRO voted_n(k, n, doubt) AS n / (1 + coalesce(doubt, 0) / (wilson_centre(k, n) * (1 - wilson_centre(k, n))));
CREATE MACRO voted_low(k, n, doubt) AS CASE WHEN n > 0 THEN
    wilson_low(k / n * voted_n(k, n, doubt), voted_n(k, n, doubt)) END;
CREATE MACRO voted_high(k, n, doubt) AS CASE WHEN n > 0 THEN
    wilson_high(k / n * voted_n(k, n, doubt), voted_n(k, n, doubt)) END;

-- Whether an image that was chosen among several (`chosen`: the worst of attacks, of targets, of a cascade) is one: of
-- a model that draws, the vote that chose it is the luckiest, so that the second one decides, where there is one.
CREATE MACRO decided(chosen, first, second) AS CASE WHEN chosen THEN coalesce(second, first) ELSE first END;

-- How far an image is in a norm, of a row of `samples`, and whether that is within eps, up to the judge's rounding.
CREATE MACRO distance_in(norm, l0, l1, l2, linf) AS
    CASE norm WHEN 'l0' THEN l0 WHEN 'l1' THEN l1 WHEN 'l2' THEN l2 WHEN 'linf' THEN linf END::DOUBLE;
CREATE MACRO is_within(distance, eps) AS distance <= eps * (1 + 1e-4) + 1e-6;

-- How far a distribution function of n samples is from that of all, at most and everywhere at once, in 95 % of cases:
-- the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant (1990).
CREATE MACRO band(n) AS sqrt(ln(2 / 0.05e0) / (2 * nullif(n, 0)));

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

-- A resolved attack without what the harness says of when a sample is finished, which depends on the cell and its source.
CREATE MACRO without_stopping(attack) AS regexp_replace(attack, '"stopping":"[a-z]+",', '', 'g');

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
