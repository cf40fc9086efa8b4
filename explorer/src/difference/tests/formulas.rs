//! The formulas, on values computed by hand.

use proptest::prelude::*;

use crate::difference::score::{
    beyond_chance, chance_of_kolmogorov_smirnov, chance_of_total_variation, kolmogorov_smirnov,
    lift, total_variation,
};

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn total_variation_is_half_the_sum_of_the_differences_of_the_shares() {
    // Shares 0.5 and 0.5 against 0.1 and 0.9.
    near(total_variation(&[(5, 10), (5, 90)]), 0.4);
    near(total_variation(&[(1, 10), (2, 20), (3, 30)]), 0.0);
    near(total_variation(&[(4, 0), (0, 7)]), 1.0);
    // Shares 0.2, 0.3, 0.5 against 0.5, 0.25, 0.25.
    near(total_variation(&[(2, 2), (3, 1), (5, 1)]), 0.3);
}

#[test]
fn lift_compares_shares_with_one_trace_more_for_each_value() {
    // (5 + 1) / (10 + 2) against (10 + 1) / (100 + 2).
    near(lift((5, 10), (10, 100), 2), 0.5 / (11.0 / 102.0));
    // A value that the rest lacks has a lift all the same: 0.5 against 1 / 102.
    near(lift((5, 0), (10, 100), 2), 51.0);
    near(lift((0, 0), (10, 10), 3), 1.0);
}

#[test]
fn kolmogorov_smirnov_is_the_largest_gap_between_the_distribution_functions() {
    let ks = |a: &[f64], b: &[f64]| kolmogorov_smirnov(&mut a.to_vec(), &mut b.to_vec());
    // At 2: 2/4 against 0/4.
    near(ks(&[1.0, 2.0, 3.0, 4.0], &[3.0, 4.0, 5.0, 6.0]), 0.5);
    // Ties are passed together; at 1: 2/3 against 1/3.
    near(ks(&[2.0, 1.0, 1.0], &[2.0, 2.0, 1.0]), 1.0 / 3.0);
    near(ks(&[1.0, 2.0], &[7.0, 8.0, 9.0]), 1.0);
    near(ks(&[1.0, 1.0], &[1.0]), 0.0);
}

#[test]
fn chance_is_what_a_random_selection_of_this_size_has() {
    // X is 0 to 5 with probabilities 1, 25, 100, 100, 25, 1 of 252, so that its mean absolute
    // deviation is 2 (2.5 + 1.5 * 25 + 0.5 * 100) / 252 = 180 / 252; times 10 / 25.
    near(
        chance_of_total_variation(&[(5, 0), (0, 5)]),
        180.0 / 252.0 * 0.4,
    );
    // Names that occur once are always on one side only.
    near(
        chance_of_total_variation(&[(1, 0), (0, 1), (0, 1), (1, 0)]),
        1.0,
    );
    // sqrt(pi / 2) ln 2 sqrt(1/50 + 1/50).
    near(chance_of_kolmogorov_smirnov(50, 50), 0.868_731_160_6 * 0.2);
}

#[test]
fn beyond_chance_is_0_for_a_random_selection_and_1_for_a_separation() {
    near(beyond_chance(0.25, 0.25), 0.0);
    near(beyond_chance(0.1, 0.25), 0.0);
    near(beyond_chance(1.0, 0.25), 1.0);
    near(beyond_chance(0.625, 0.25), 0.5);
    near(beyond_chance(1.0, 1.0), 0.0);
}

#[test]
fn names_that_occur_once_tell_nothing_in_any_number() {
    for (selected, rest) in [(5, 5), (8, 16), (7, 17), (20, 31), (13, 37)] {
        let names: Vec<_> = [(1, 0)]
            .repeat(selected)
            .into_iter()
            .chain([(0, 1)].repeat(rest))
            .collect();
        let chance = chance_of_total_variation(&names);
        near(beyond_chance(total_variation(&names), chance), 0.0);
    }
}

proptest! {
    #[test]
    fn the_statistic_is_that_of_its_definition(
        a in prop::collection::vec(0..20_i32, 1..30), b in prop::collection::vec(0..20_i32, 1..30),
    ) {
        let share = |numbers: &[i32], bound: i32| {
            numbers.iter().filter(|number| **number <= bound).count() as f64 / numbers.len() as f64
        };
        let gaps = (0..20).map(|bound| (share(&a, bound) - share(&b, bound)).abs());
        let expected = gaps.fold(0.0, f64::max);
        let of = |numbers: &[i32]| numbers.iter().map(|number| f64::from(*number)).collect::<Vec<_>>();
        prop_assert!((kolmogorov_smirnov(&mut of(&a), &mut of(&b)) - expected).abs() < 1e-9);
    }
}
