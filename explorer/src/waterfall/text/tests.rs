//! Durations, widths, and foreign text.

use proptest::prelude::*;

use super::{clean, duration, fit, width};

#[test]
fn durations_have_three_digits() {
    for (nanos, text) in [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (9_994, "9.99 µs"),
        (9_999, "10.0 µs"),
        (12_345, "12.3 µs"),
        (99_960, "100 µs"),
        (999_400, "999 µs"),
        (999_600, "1.00 ms"),
        (1_500_000, "1.50 ms"),
        (123_400_000, "123 ms"),
        (999_900_000, "1.00 s"),
        (12_340_000_000, "12.3 s"),
        (99_960_000_000, "1m 40s"),
        (200_000_000_000, "3m 20s"),
        (7_200_000_000_000, "2h 00m"),
        (u64::MAX, "213503d"),
    ] {
        assert_eq!(duration(nanos), text);
    }
}

#[test]
fn terminal_commands_and_direction_marks_are_replaced() {
    assert_eq!(
        clean("a\x1b[2Jb\u{202e}c\nd\u{9b}e"),
        "a\u{fffd}[2Jb\u{fffd}c d\u{fffd}e"
    );
}

#[test]
fn wide_characters_take_two_columns() {
    assert_eq!(fit("葡萄酒品質", 5), "葡萄…");
    assert_eq!(fit("葡萄", 4), "葡萄");
    assert_eq!(fit("abc", 0), "");
    assert_eq!(fit("abc", 1), "…");
}

proptest! {
    #[test]
    fn no_text_is_wider_than_its_columns(text in "\\PC{0,40}", columns in 0_usize..30) {
        prop_assert!(width(&fit(&clean(&text), columns)) <= columns);
    }

    #[test]
    fn a_duration_is_never_wider_than_seven(nanos in any::<u64>()) {
        prop_assert!(width(&duration(nanos)) <= 7, "{}", duration(nanos));
    }
}
