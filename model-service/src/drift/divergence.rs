//! How far two distributions over the same bins are apart.

/// Stands for a share of zero in [`psi`], whose logarithm would be infinite. The shares are not
/// scaled to one again.
const EMPTY: f64 = 1e-4;

/// The population stability index, with natural logarithms: Jeffreys' divergence of the two
/// distributions.
pub(super) fn psi(reference: &[f64], current: &[f64]) -> f64 {
    let filled = |share: f64| if share > 0.0 { share } else { EMPTY };
    let terms = reference.iter().zip(current).map(|(reference, current)| {
        let (reference, current) = (filled(*reference), filled(*current));
        (current - reference) * (current / reference).ln()
    });
    terms.sum()
}

/// The Jensen-Shannon distance with logarithms to base 2: the square root of the divergence, from 0
/// to 1.
pub(super) fn js_distance_base2(reference: &[f64], current: &[f64]) -> f64 {
    let term = |share: f64, middle: f64| {
        if share > 0.0 {
            share * (share / middle).log2()
        } else {
            0.0
        }
    };
    let terms = reference.iter().zip(current).map(|(reference, current)| {
        let middle = f64::midpoint(*reference, *current);
        term(*reference, middle) + term(*current, middle)
    });
    // Rounding may make equal distributions a little less than equal.
    (terms.sum::<f64>() / 2.0).max(0.0).sqrt()
}

/// The statistic D of Kolmogorov and Smirnov at the edges between the bins. The profile knows the
/// distribution there only, so that this is at most the D of all values.
pub(super) fn ks_d(reference: &[f64], current: &[f64]) -> f64 {
    let (mut gap, mut widest) = (0.0_f64, 0.0_f64);
    for (reference, current) in reference.iter().zip(current) {
        gap += current - reference;
        widest = widest.max(gap.abs());
    }
    widest
}
