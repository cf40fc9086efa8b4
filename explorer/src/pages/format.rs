//! Times, durations and counts as a reader wants them.

use jiff::Timestamp;
use maud::{Markup, html};

pub(super) use crate::waterfall::text::duration;

/// A moment in nanoseconds since 1970. The text is UTC; the script shows the reader's zone and keeps
/// UTC for hovering.
pub(super) fn time(unix_nanos: u64) -> Markup {
    let Ok(moment) = Timestamp::from_nanosecond(i128::from(unix_nanos)) else {
        return html! { "–" };
    };
    let shown = moment.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string();
    html! { time datetime=(moment) title=(shown) { (shown) } }
}

/// A text of bounded length, which says that it was longer.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A moment in RFC 3339, as [`time`] shows it; a dash if there is none.
pub(super) fn moment(rfc3339: Option<&str>) -> Markup {
    let parsed = rfc3339.and_then(|text| text.parse::<Timestamp>().ok());
    let nanoseconds = parsed.and_then(|moment| u64::try_from(moment.as_nanosecond()).ok());
    nanoseconds.map_or_else(|| html! { "–" }, time)
}

/// `1 span`, `2 spans`, `12,345 spans`.
pub(super) fn count(number: usize, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", grouped(number))
}

/// With a comma between groups of three digits.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A position or a length within a drawing, in percent of its width.
pub(super) fn percent(part: f64) -> String {
    format!("{:.3}%", part.clamp(0.0, 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_groups_and_plurals() {
        assert_eq!(count(1, "span"), "1 span");
        assert_eq!(count(0, "span"), "0 spans");
        assert_eq!(count(1_234_567, "span"), "1,234,567 spans");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
    }

    #[test]
    fn a_time_has_its_zone_and_a_machine_readable_form() {
        let markup = time(1_764_247_811_123_000_000).into_string();
        assert!(
            markup.contains("datetime=\"2025-11-27T12:50:11.123Z\""),
            "{markup}"
        );
        assert!(markup.contains("2025-11-27 12:50:11.123 UTC"), "{markup}");
    }

    #[test]
    fn a_part_outside_of_the_drawing_stays_in_it() {
        assert_eq!(percent(0.125), "12.500%");
        assert_eq!(percent(-1.0), "0.000%");
        assert_eq!(percent(7.0), "100.000%");
    }
}
