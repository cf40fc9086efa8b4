//! How large a score becomes by chance: the thresholds that `alpha` of all comparisons without any
//! drift exceed.

use std::f64::consts::PI;

/// A smaller index is of no importance, however many rows show it.
const LEAST_PSI: f64 = 0.05;

/// Of the population stability index. `quantile` is that of χ² with a degree of freedom less than
/// there are bins.
///
/// Without drift, the index is about `(1/n + 1/m) · χ²` (B. Yurdakul, "Statistical properties of
/// population stability index", 2018). In a small window its tail is heavier, since the logarithm
/// punishes an emptied bin more than χ² does; the second factor is fitted to simulations of 10, 5
/// and 2 bins with windows of 200 and 600 rows.
pub(super) fn psi(reference_rows: f64, rows: f64, bins: usize, quantile: f64) -> f64 {
    let by_chance = (1.0 / reference_rows + 1.0 / rows) * quantile;
    let heavier = 1.0 + by_chance * bins as f64 / 10.0;
    (by_chance * heavier).max(LEAST_PSI)
}

/// Of the statistic D of Kolmogorov and Smirnov: the two-sided asymptotic one, which is a little
/// too large for small windows, and for values with ties.
pub(super) fn ks_d(reference_rows: f64, rows: f64, alpha: f64) -> f64 {
    let c = (-(alpha / 2.0).ln() / 2.0).sqrt();
    c * ((reference_rows + rows) / (reference_rows * rows)).sqrt()
}

/// Of the share of values beyond the smallest and the largest of the reference.
///
/// Whatever the distribution, the next largest of all values is one of the window with the
/// probability `q`, its share of the rows: so `x` or more lie beyond both ends with `q^x (1 + x
/// (1 - q))` or less.
pub(super) fn out_of_range_share(reference_rows: f64, rows: f64, alpha: f64) -> f64 {
    let q = rows / (reference_rows + rows);
    let by_chance = |count: f64| q.powf(count) * (1.0 + count * (1.0 - q));
    largest_by_chance(rows, alpha, by_chance)
}

/// Of the share of missing values, when `missing` of the reference are: Fisher's exact test of two
/// proportions, with the binomial distribution in place of the hypergeometric, whose tail is
/// lighter.
pub(super) fn missing_share(missing: u64, reference_rows: f64, rows: f64, alpha: f64) -> f64 {
    let q = rows / (reference_rows + rows);
    let by_chance = |count: f64| {
        let all = count + missing as f64;
        // Of `all`, 0 to `missing` are in the reference. By logarithms, since single terms may be
        // too small for a number.
        let (mut term, mut sum) = (all * q.ln(), 0.0);
        for here in 0..=missing {
            sum += term.exp();
            let here = here as f64;
            term += ((all - here) / (here + 1.0) * (1.0 - q) / q).ln();
        }
        sum
    };
    largest_by_chance(rows, alpha, by_chance)
}

/// The share of the largest count whose probability is still `alpha` or more.
fn largest_by_chance(rows: f64, alpha: f64, by_chance: impl Fn(f64) -> f64) -> f64 {
    let (mut possible, mut rare) = (0.0, rows + 1.0);
    while rare - possible > 1.0 {
        let middle = f64::midpoint(possible, rare).floor();
        if by_chance(middle) >= alpha {
            possible = middle;
        } else {
            rare = middle;
        }
    }
    possible / rows
}

/// What χ² with `degrees` of freedom exceeds with the probability `alpha`.
pub(super) fn chi_square_quantile(degrees: usize, alpha: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while exceeded(degrees, high) > alpha {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if exceeded(degrees, middle) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability that χ² exceeds `value`, by the power series of the incomplete gamma function
/// (NIST, Digital Library of Mathematical Functions, 8.11.4).
fn exceeded(degrees: usize, value: f64) -> f64 {
    let (half, x) = (degrees as f64 / 2.0, value / 2.0);
    let mut term = (half * x.ln() - x - ln_gamma_of_next(degrees)).exp();
    let (mut sum, mut step) = (0.0, half);
    while term > sum * f64::EPSILON {
        sum += term;
        step += 1.0;
        term *= x / step;
    }
    1.0 - sum
}

/// `ln Γ(degrees / 2 + 1)`, from Γ(1) = 1 and Γ(1/2) = √π.
fn ln_gamma_of_next(degrees: usize) -> f64 {
    let (start, first) = match degrees % 2 {
        0 => (0.0, 2),
        _ => (PI.sqrt().ln(), 1),
    };
    let factors = (first..=degrees).step_by(2);
    start + factors.map(|twice| (twice as f64 / 2.0).ln()).sum::<f64>()
}
