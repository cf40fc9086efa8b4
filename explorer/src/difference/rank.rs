//! From what was seen to the list of differences.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::score::{self, Pair};
use super::table::{Dimension, MAX_VALUES, Table};
use super::{Bin, Category, Class, Evidence, Ranked};

/// Differences that are shown.
const MAX_RANKED: usize = 40;
/// Categories that are shown of one attribute; the rest are added up.
const MAX_CATEGORIES: usize = 8;
/// Numbers that are rather names than amounts, such as status codes, have few values.
const MAX_NUMBER_CATEGORIES: usize = 10;
const BINS: usize = 8;
/// The ratio of the largest to the smallest number from which bins of equal width hide the small
/// ones.
const MAGNITUDES: f64 = 20.0;
/// The category of a trace that lacks the attribute.
const ABSENT: &str = "(absent)";
/// The category of several values that are not shown.
const OTHERS: &str = "(others)";

/// The differences, largest first, and the names of the attributes that were left out.
pub(super) fn rank(table: Table) -> (Vec<Ranked>, Vec<String>) {
    let [paths_selected, paths_rest] = table.paths;
    let (mut ranked, mut left_out) = (Vec::new(), Vec::new());
    for dimension in table.dimensions {
        let name = format!("{} of {}", dimension.name, dimension.origin);
        let totals = match dimension.absent {
            None => (table.selected, table.rest),
            Some(_) => (paths_selected, paths_rest),
        };
        match compare(dimension, totals) {
            Some(found) if found.1.score > 0.0 => ranked.push(found),
            Some(_) => {}
            None => left_out.push(name),
        }
    }
    ranked.sort_by_cached_key(|(excess, ranked)| {
        // What is within a tenth is about equal, and the class decides.
        let tenths = (ranked.score * 10.0).round() as u64;
        let fine = (excess.unwrap_or(ranked.score) * 1e6) as i64;
        let name = (ranked.name.clone(), ranked.origin.clone());
        (Reverse(tenths), ranked.class, Reverse(fine), name)
    });
    left_out.sort();
    let ranked = ranked
        .into_iter()
        .map(|(_, ranked)| ranked)
        .take(MAX_RANKED)
        .collect();
    (ranked, left_out)
}

/// The difference in one attribute, with the mean excess in milliseconds of a time on the path;
/// `None` for an attribute with too many values.
fn compare(mut dimension: Dimension, totals: Pair) -> Option<(Option<f64>, Ranked)> {
    if let Some(absent) = dimension.absent {
        let [selected, rest] = &mut dimension.numbers;
        selected.resize(totals.0.max(selected.len()), absent);
        rest.resize(totals.1.max(rest.len()), absent);
    }
    let is_number = dimension.categories.is_empty() && !dimension.too_many && {
        let mut numbers = dimension.numbers.concat();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers.dedup();
        numbers.len() > MAX_NUMBER_CATEGORIES || dimension.absent.is_some()
    };
    let excess = dimension.absent.map(|_| {
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
        mean(&dimension.numbers[0]) - mean(&dimension.numbers[1])
    });
    let both = dimension.numbers.iter().all(|numbers| !numbers.is_empty());
    let ranked = if is_number && both {
        numbers(dimension)
    } else {
        categories(dimension, totals, is_number)?
    };
    Some((excess, ranked))
}

fn numbers(dimension: Dimension) -> Ranked {
    let [mut selected, mut rest] = dimension.numbers;
    let distance = score::kolmogorov_smirnov(&mut selected, &mut rest);
    let chance = score::chance_of_kolmogorov_smirnov(selected.len(), rest.len());
    Ranked {
        name: dimension.name,
        origin: dimension.origin,
        class: dimension.class,
        distance,
        score: score::beyond_chance(distance, chance),
        evidence: Evidence::Numbers(bins(&selected, &rest)),
    }
}

/// Bins over both sorted samples, of equal width, or of equal ratio if the numbers are of several
/// magnitudes.
fn bins(selected: &[f64], rest: &[f64]) -> Vec<Bin> {
    let ends = |samples: &[f64]| (samples[0], samples[samples.len() - 1]);
    let ((a, b), (c, d)) = (ends(selected), ends(rest));
    let (low, high) = (a.min(c), b.max(d));
    let by_ratio = low > 0.0 && high / low > MAGNITUDES;
    let edge = |at: usize| {
        let part = at as f64 / BINS as f64;
        match at {
            BINS => high,
            _ if by_ratio => low * (high / low).powf(part),
            _ => low + (high - low) * part,
        }
    };
    let edges: Vec<f64> = (0..=BINS).map(edge).collect();
    // A bin has its lower edge, and the last one has both.
    let below = |samples: &[f64], at: usize| match at {
        BINS => samples.len(),
        at => samples.partition_point(|number| *number < edges[at]),
    };
    let bin = |at: usize| Bin {
        from: edges[at],
        to: edges[at + 1],
        selected: below(selected, at + 1) - below(selected, at),
        rest: below(rest, at + 1) - below(rest, at),
    };
    (0..BINS).map(bin).collect()
}

fn categories(dimension: Dimension, totals: Pair, only_presence: bool) -> Option<Ranked> {
    let mut counts: HashMap<String, [usize; 2]> = dimension.categories;
    for (side, numbers) in dimension.numbers.iter().enumerate() {
        for number in numbers {
            let name = if only_presence {
                "(a number)".to_owned()
            } else {
                number.to_string()
            };
            counts.entry(name).or_default()[side] += 1;
        }
    }
    if dimension.too_many || counts.len() > MAX_VALUES {
        return None;
    }
    let seen = |side: usize| counts.values().map(|counts| counts[side]).sum::<usize>();
    let absent = (
        totals.0.saturating_sub(seen(0)),
        totals.1.saturating_sub(seen(1)),
    );
    let mut pairs: Vec<(String, Pair)> = counts
        .into_iter()
        .map(|(value, [a, b])| (value, (a, b)))
        .collect();
    if absent != (0, 0) {
        pairs.push((ABSENT.to_owned(), absent));
    }
    let plain: Vec<Pair> = pairs.iter().map(|(_, pair)| *pair).collect();
    let distance = score::total_variation(&plain);
    let chance = score::chance_of_total_variation(&plain);
    let share =
        |(a, b): Pair| a as f64 / totals.0.max(1) as f64 - b as f64 / totals.1.max(1) as f64;
    // If most of the difference is that one side lacks the attribute, its values tell little.
    let is_presence = dimension.class != Class::Error && share(absent).abs() * 2.0 > distance;
    Some(Ranked {
        name: dimension.name,
        origin: dimension.origin,
        class: if is_presence {
            Class::Presence
        } else {
            dimension.class
        },
        distance,
        score: score::beyond_chance(distance, chance),
        evidence: Evidence::Categories(shown(pairs, totals, share)),
    })
}

/// The values that differ most, and the others added up.
fn shown(
    mut pairs: Vec<(String, Pair)>,
    totals: Pair,
    share: impl Fn(Pair) -> f64,
) -> Vec<Category> {
    let values = pairs.len();
    pairs.sort_by(|(a, x), (b, y)| {
        let (x, y) = (share(*x), share(*y));
        (y.abs().total_cmp(&x.abs()))
            .then(y.total_cmp(&x))
            .then(a.cmp(b))
    });
    if values > MAX_CATEGORIES {
        let others = pairs.split_off(MAX_CATEGORIES - 1).into_iter();
        let sum = others.fold((0, 0), |(a, b), (_, (c, d))| (a + c, b + d));
        pairs.push((OTHERS.to_owned(), sum));
    }
    let category = |(value, pair): (String, Pair)| Category {
        value,
        selected: pair.0,
        rest: pair.1,
        lift: score::lift(pair, totals, values),
    };
    pairs.into_iter().map(category).collect()
}
