//! How far apart two distributions are, and how far apart a random selection would be.

/// Values of more traces than this are nearly normal.
const MAX_EXACT: usize = 100;

/// Traces that have one value: selected, and the rest.
pub(super) type Pair = (usize, usize);

/// Total variation distance of two categorical distributions, half the sum of the absolute
/// differences of the shares (Levin, Peres and Wilmer, Markov Chains and Mixing Times, 2nd edition,
/// proposition 4.2).
pub(super) fn total_variation(counts: &[Pair]) -> f64 {
    let (selected, rest) = totals(counts);
    let difference = |(a, b): &Pair| (*a as f64 / selected - *b as f64 / rest).abs();
    counts.iter().map(difference).sum::<f64>() / 2.0
}

/// The total variation distance that a random selection of this size has on average.
///
/// A value that `n` of all traces have is in `X` of the selected ones, and `X` is hypergeometric
/// (Feller, An Introduction to Probability Theory and Its Applications, volume 1, section II.6). The
/// difference of its shares is `(X - mean) all / (selected rest)`.
pub(super) fn chance_of_total_variation(counts: &[Pair]) -> f64 {
    let (selected, rest) = totals(counts);
    let all = selected + rest;
    let factorials = log_factorials(all as usize);
    let deviation = |(a, b): &Pair| match a + b {
        n @ 0..=MAX_EXACT => exact_deviation(n, selected as usize, rest as usize, &factorials),
        n => {
            // Nearly normal: the mean absolute deviation is the standard deviation times sqrt(2/pi).
            let share = n as f64 / all;
            let variance = selected * rest * share * (1.0 - share) / (all - 1.0);
            (variance * 2.0 / std::f64::consts::PI).sqrt()
        }
    };
    counts.iter().map(deviation).sum::<f64>() * all / (selected * rest) / 2.0
}

/// The mean absolute deviation of the hypergeometric distribution.
fn exact_deviation(n: usize, selected: usize, rest: usize, factorials: &[f64]) -> f64 {
    let choose =
        |of: usize, chosen: usize| factorials[of] - factorials[chosen] - factorials[of - chosen];
    let all = choose(selected + rest, n);
    let mean = n as f64 * selected as f64 / (selected + rest) as f64;
    let possible = n.saturating_sub(rest)..=n.min(selected);
    let part = |x: usize| {
        let probability = (choose(selected, x) + choose(rest, n - x) - all).exp();
        probability * (x as f64 - mean).abs()
    };
    possible.map(part).sum()
}

fn log_factorials(most: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let logarithms = (1..=most).map(|number| {
        sum += (number as f64).ln();
        sum
    });
    std::iter::once(0.0).chain(logarithms).collect()
}

/// How many times as often a value is in the selected traces as in the rest (the lift, also called
/// interest: Brin, Motwani, Ullman and Tsur, SIGMOD 1997, section 4), with one imagined trace more
/// for each of `values` on both sides, so that a value that one side lacks has a lift
/// (add-one smoothing: Manning and Schütze, Foundations of Statistical Natural Language Processing,
/// section 6.2.2).
pub(super) fn lift((a, b): Pair, (selected, rest): Pair, values: usize) -> f64 {
    let share = |count: usize, total: usize| (count + 1) as f64 / (total + values) as f64;
    share(a, selected) / share(b, rest)
}

/// The two-sample Kolmogorov-Smirnov statistic: the largest difference of the two empirical
/// distribution functions (NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.5.16, for
/// one sample; Smirnov 1939 for two). Sorts the samples.
pub(super) fn kolmogorov_smirnov(a: &mut [f64], b: &mut [f64]) -> f64 {
    a.sort_unstable_by(f64::total_cmp);
    b.sort_unstable_by(f64::total_cmp);
    let (mut at_a, mut at_b, mut largest) = (0, 0, 0.0_f64);
    while at_a < a.len() && at_b < b.len() {
        // Equal numbers are passed together on both sides.
        let number = a[at_a].min(b[at_b]);
        at_a += a[at_a..].iter().take_while(|next| **next <= number).count();
        at_b += b[at_b..].iter().take_while(|next| **next <= number).count();
        let difference = at_a as f64 / a.len() as f64 - at_b as f64 / b.len() as f64;
        largest = largest.max(difference.abs());
    }
    largest
}

/// The statistic that a random selection of this size has on average: the mean of Kolmogorov's
/// distribution is sqrt(pi/2) ln 2 (Marsaglia, Tsang and Wang, Journal of Statistical Software 8/18,
/// 2003, section 1).
pub(super) fn chance_of_kolmogorov_smirnov(a: usize, b: usize) -> f64 {
    let mean = (std::f64::consts::PI / 2.0).sqrt() * std::f64::consts::LN_2;
    (mean * (1.0 / a as f64 + 1.0 / b as f64).sqrt()).min(1.0)
}

/// What a distance says beyond chance: 0 for what is expected of a random selection, 1 for a
/// complete separation (the form of Hubert and Arabie, Comparing Partitions, 1985).
pub(super) fn beyond_chance(distance: f64, chance: f64) -> f64 {
    // A sum of probabilities, so that 1 may be a little less.
    if chance > 1.0 - 1e-6 {
        return 0.0;
    }
    ((distance - chance) / (1.0 - chance)).max(0.0)
}

fn totals(counts: &[Pair]) -> (f64, f64) {
    let selected: usize = counts.iter().map(|(selected, _)| selected).sum();
    let rest: usize = counts.iter().map(|(_, rest)| rest).sum();
    (selected.max(1) as f64, rest.max(1) as f64)
}
