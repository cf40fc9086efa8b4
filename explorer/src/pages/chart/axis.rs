//! Scales, ticks, and numbers in their unit.

use super::super::format;

/// Beyond it the height of an axis would be infinite.
const LARGEST: f64 = 1e300;

/// The unit of a metric, as OpenTelemetry writes it (UCUM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unit {
    Plain,
    Seconds,
    Bytes,
    /// From 0 to 1.
    Share,
    PerSecond,
}

impl Unit {
    pub(in super::super) fn of(text: &str) -> Unit {
        match text {
            "s" => Unit::Seconds,
            "By" => Unit::Bytes,
            _ => Unit::Plain,
        }
    }
}

/// A number for people.
pub(in super::super) fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value >= 0.0 => format::duration((value * 1e9) as u64),
        Unit::Bytes => bytes(value),
        Unit::Share => format!("{:.1} %", value * 100.0),
        Unit::PerSecond => format!("{}/s", plain(value)),
        Unit::Seconds | Unit::Plain => plain(value),
    }
}

fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value, 0);
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", plain(value), units[unit])
}

/// About three digits.
fn plain(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e7).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 1_000.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// The lower and upper end of an axis that holds all values: round numbers, from 0 unless the
/// values are negative.
pub(super) fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (0.0_f64, 0.0_f64);
    for value in values.filter(|value| value.is_finite()) {
        let value = value.clamp(-LARGEST, LARGEST);
        (low, high) = (low.min(value), high.max(value));
    }
    if high - low <= 0.0 {
        return (0.0, 1.0);
    }
    // Not `-0`, which would be written with its sign.
    (0.0 - round_up(-low), round_up(high))
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0];
    let step = steps
        .iter()
        .find(|step| **step * power >= value * 0.999_999);
    step.unwrap_or(&10.0) * power
}
