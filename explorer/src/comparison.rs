//! Two traces side by side: which span of one is which of the other, and what differs.
//!
//! The trees are aligned from the top. Below an aligned pair the children with the same name, kind
//! and service are paired in their order; then those that are left with the same name and kind, since
//! another variant may run in another service. What is still left has only one side, and so has all
//! of it below.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::iter;

use serde_json::Value;

use crate::trace::{SpanData, SpanStatus, Trace};

/// The rows of the aligned trees, depth first.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub rows: Vec<Row>,
}

/// A span of one trace, of the other, or of both. Indices in [`Trace::spans`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub a: Option<usize>,
    pub b: Option<usize>,
    pub depth: usize,
    /// Only of a pair.
    pub differences: Vec<Difference>,
}

/// A value that differs between the spans of a pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The name of an attribute, or `status`, `service.name`.
    pub key: String,
    /// `None` where the span does not have it.
    pub a: Option<Value>,
    pub b: Option<Value>,
}

/// How two numbers of nanoseconds differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Same,
    Slower(u64),
    Faster(u64),
}

impl Change {
    /// From `a` to `b`.
    pub fn between(a: u64, b: u64) -> Change {
        match b.cmp(&a) {
            std::cmp::Ordering::Equal => Change::Same,
            std::cmp::Ordering::Greater => Change::Slower(b - a),
            std::cmp::Ordering::Less => Change::Faster(a - b),
        }
    }
}

/// Aligns two traces.
pub fn compare(a: &Trace, b: &Trace) -> Comparison {
    let (below_a, below_b) = (Levels::of(a), Levels::of(b));
    let mut rows = Vec::new();
    // A stack of our own: a chain of ten thousand spans needs no deep recursion.
    let mut open: Vec<(Pair, usize)> = Vec::new();
    let push = |open: &mut Vec<(Pair, usize)>, of_a: &[usize], of_b: &[usize], depth| {
        let pairs = align((a, of_a), (b, of_b));
        open.extend(pairs.into_iter().rev().map(|pair| (pair, depth)));
    };
    push(&mut open, &below_a.tops, &below_b.tops, 0);
    while let Some(((at_a, at_b), depth)) = open.pop() {
        let differences = match (at_a, at_b) {
            (Some(at_a), Some(at_b)) => differences(&a.spans[at_a], &b.spans[at_b]),
            _ => Vec::new(),
        };
        rows.push(Row {
            a: at_a,
            b: at_b,
            depth,
            differences,
        });
        push(
            &mut open,
            below_a.below(at_a),
            below_b.below(at_b),
            depth + 1,
        );
    }
    Comparison { rows }
}

type Pair = (Option<usize>, Option<usize>);

/// The top spans and the children of each span.
struct Levels {
    tops: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Levels {
    fn of(trace: &Trace) -> Levels {
        let mut levels = Levels {
            tops: Vec::new(),
            children: vec![Vec::new(); trace.spans.len()],
        };
        for (at, parent) in trace.parent_indices().into_iter().enumerate() {
            match parent {
                Some(parent) => levels.children[parent].push(at),
                None => levels.tops.push(at),
            }
        }
        levels
    }

    fn below(&self, span: Option<usize>) -> &[usize] {
        span.map_or(&[], |span| &self.children[span])
    }
}

/// Pairs siblings. The order is that of `a`; a span that only `b` has follows the sibling that it
/// follows there.
fn align((a, of_a): (&Trace, &[usize]), (b, of_b): (&Trace, &[usize])) -> Vec<Pair> {
    let mut partners: HashMap<usize, usize> = HashMap::new();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let mut pair_by = |key: fn(&SpanData) -> (&str, u8, &str)| {
        let free_a = of_a.iter().filter(|at| !partners.contains_key(at));
        let free_b = of_b.iter().filter(|at| !taken.contains(at));
        let found = pairs(
            free_a.map(|at| (*at, key(&a.spans[*at]))),
            free_b.map(|at| (*at, key(&b.spans[*at]))),
        );
        for (at_a, at_b) in found {
            partners.insert(at_a, at_b);
            taken.insert(at_b);
        }
    };
    pair_by(|span| (&span.name, span.kind as u8, &span.service));
    pair_by(|span| (&span.name, span.kind as u8, ""));

    let position: HashMap<usize, usize> = iter::zip(of_b.iter().copied(), 0..).collect();
    let mut shown_b = 0;
    let mut aligned = Vec::with_capacity(of_a.len() + of_b.len());
    let only_b = |range: std::ops::Range<usize>, aligned: &mut Vec<Pair>| {
        let left = of_b[range].iter().filter(|at| !taken.contains(at));
        aligned.extend(left.map(|at| (None, Some(*at))));
    };
    for at_a in of_a {
        let partner = partners.get(at_a).copied();
        if let Some(at) = partner.map(|partner| position[&partner])
            && at >= shown_b
        {
            only_b(shown_b..at, &mut aligned);
            shown_b = at;
        }
        aligned.push((Some(*at_a), partner));
    }
    only_b(shown_b..of_b.len(), &mut aligned);
    aligned
}

/// The spans with equal keys, in their order.
fn pairs<K: Eq + Hash>(
    a: impl Iterator<Item = (usize, K)>,
    b: impl Iterator<Item = (usize, K)>,
) -> Vec<(usize, usize)> {
    let mut waiting: HashMap<K, std::collections::VecDeque<usize>> = HashMap::new();
    for (at, key) in b {
        waiting.entry(key).or_default().push_back(at);
    }
    a.filter_map(|(at, key)| Some((at, waiting.get_mut(&key)?.pop_front()?)))
        .collect()
}

fn differences(a: &SpanData, b: &SpanData) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |key: &str, a: Option<Value>, b: Option<Value>| {
        if a != b {
            let key = key.to_owned();
            differences.push(Difference { key, a, b });
        }
    };
    differ(
        "service.name",
        Some(a.service.as_str().into()),
        Some(b.service.as_str().into()),
    );
    differ("status", Some(status(a)), Some(status(b)));
    let keys: BTreeSet<_> = a.attributes.keys().chain(b.attributes.keys()).collect();
    for key in keys {
        differ(
            key,
            a.attributes.get(key).cloned(),
            b.attributes.get(key).cloned(),
        );
    }
    differences
}

fn status(span: &SpanData) -> Value {
    match &span.status {
        SpanStatus::Unset => "unset".into(),
        SpanStatus::Ok => "ok".into(),
        SpanStatus::Error(message) if message.is_empty() => "error".into(),
        SpanStatus::Error(message) => format!("error: {message}").into(),
    }
}

#[cfg(test)]
mod tests;
