//! Golden values, observed with Evidently 0.7, scipy and by hand, and quantiles of tables.

use crate::drift::divergence::{js_distance_base2, ks_d, psi};
use crate::drift::threshold;
use crate::training::profile::profile;

/// The reference 0, 1 … 99 and the current values 10, 11 … 109 over the reference's deciles.
fn shifted() -> (Vec<f64>, Vec<f64>) {
    let reference = profile("number", (0..100).map(f64::from).collect());
    let mut shares = vec![0.0; 10];
    for value in 10..110 {
        let edges = &reference.decile_edges;
        shares[edges.partition_point(|edge| *edge <= f64::from(value))] += 0.01;
    }
    (reference.decile_shares, shares)
}

fn close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-12, "{actual} {expected}");
}

#[test]
fn numbers_over_deciles() {
    let (reference, current) = shifted();
    close(psi(&reference, &current), 0.759_399_470_426_310_1);
    close(
        js_distance_base2(&reference, &current),
        0.249_510_771_093_807_8,
    );
    close(ks_d(&reference, &current), 0.1);
    close(psi(&reference, &reference), 0.0);
    close(js_distance_base2(&reference, &reference), 0.0);
}

#[test]
fn categories() {
    let (reference, current) = ([0.5, 0.3, 0.2, 0.0], [0.3, 0.3, 0.3, 0.1]);
    close(psi(&reference, &current), 0.832_796_387_934_330_1);
    // The golden value has natural logarithms.
    let natural = js_distance_base2(&reference, &current) * 2_f64.ln().sqrt();
    close(natural, 0.228_746_178_933_014_66);
    let (reference, current) = ([0.25; 4], [0.1, 0.2, 0.3, 0.4]);
    close(psi(&reference, &current), 0.228_217_409_573_391_82);
    close(
        js_distance_base2(&reference, &current),
        0.200_503_322_531_428_2,
    );
}

#[test]
fn quantiles_are_those_of_the_tables() {
    // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
    for (degrees, alpha, quantile) in [
        (1, 0.05, 3.841),
        (1, 0.001, 10.828),
        (2, 0.01, 9.210),
        (9, 0.10, 14.684),
        (9, 0.001, 27.877),
        (10, 0.01, 23.209),
        (30, 0.05, 43.773),
        (100, 0.001, 149.449),
    ] {
        let computed = threshold::chi_square_quantile(degrees, alpha);
        assert!((computed - quantile).abs() < 5e-4, "{degrees} {computed}");
    }
    // With two degrees of freedom it is known in closed form, far out, too.
    for alpha in [1e-5_f64, 1e-8, 1e-10] {
        let computed = threshold::chi_square_quantile(2, alpha);
        assert!((computed + 2.0 * alpha.ln()).abs() < 1e-4, "{computed}");
    }
}

#[test]
fn thresholds_of_ks_are_those_of_the_tables() {
    // c(0.05) = 1.358, c(0.001) = 1.949 (Smirnov 1948).
    for (alpha, c) in [(0.05, 1.358), (0.001, 1.949)] {
        let computed = threshold::ks_d(200.0, 200.0, alpha) * 10.0;
        assert!((computed - c).abs() < 1e-3, "{computed}");
    }
}

#[test]
fn thresholds_of_shares_are_counts_that_chance_explains() {
    // A tenth of all rows is in the window: x values beyond both ends have the probability
    // 0.1^x (1 + 0.9 x), so 0.0028 for three, and 0.00046 for four.
    let share = threshold::out_of_range_share(900.0, 100.0, 1e-3);
    close(share, 0.03);
    // Nothing was missing before: 0.1^x.
    close(threshold::missing_share(0, 900.0, 100.0, 2e-3), 0.02);
    // 90 of 900 were missing, so that 10 are to be expected: with a probability of 0.0016 there are
    // 21 or more (as scipy.stats.binom.sf has it for 111 of a tenth), and 20 are more likely.
    let share = threshold::missing_share(90, 900.0, 100.0, 1e-3);
    assert!((0.19..=0.24).contains(&share), "{share}");
    let many = threshold::missing_share(50_000, 1e6, 10_000.0, 1e-4);
    assert!((0.055..0.065).contains(&many), "{many}");
}
