//! The terms that need the spans, tested on one trace in one pass.

use std::sync::Arc;

use super::{Condition, Filter, is_within};
use crate::span_view::{self, SpanView, ValueView};
use crate::store::traces::StoredSpan;
use crate::store::{Source, TraceId};

/// `SPAN_KIND_SERVER` of opentelemetry-proto.
const SERVER: u64 = 2;
/// Sources of which the outcome is remembered; a store has one for each scope of each process.
const REMEMBERED: usize = 256;

pub(super) struct Scan<'a> {
    filter: &'a Filter,
    /// What a resource meets does not change from span to span.
    sources: Vec<(Arc<Source>, Found)>,
}

/// What the spans of a trace have met so far.
#[derive(Clone, Debug, Default)]
struct Found {
    /// One for each condition of the filter.
    conditions: Vec<bool>,
    text: bool,
    /// A span that computed a prediction.
    predicts: bool,
    /// A request that points to another computation.
    reuses: bool,
}

impl<'a> Scan<'a> {
    /// `None` if the filter has no such term.
    pub(super) fn of(filter: &'a Filter) -> Option<Scan<'a>> {
        let needed =
            !filter.conditions.is_empty() || filter.text.is_some() || filter.cached.is_some();
        needed.then(|| Scan {
            filter,
            sources: Vec::new(),
        })
    }

    pub(super) fn matches<I>(&mut self, trace_id: TraceId, spans: &[(I, StoredSpan)]) -> bool {
        let filter = self.filter;
        let mut found = Found::none(filter);
        if let Some(text) = &filter.text {
            found.text = is_within(text, &hex::encode(trace_id));
        }
        for (_, span) in spans {
            found.add(self.source(&span.source));
            found.add_span(filter, span);
            if found.is_excluded(filter) {
                return false;
            }
            if found.is_decided(filter) {
                return true;
            }
        }
        found.is_match(filter)
    }

    fn source(&mut self, source: &Arc<Source>) -> &Found {
        let known = self
            .sources
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, source));
        let at = known.unwrap_or_else(|| {
            if self.sources.len() >= REMEMBERED {
                self.sources.clear();
            }
            let found = Found::of_source(self.filter, source);
            self.sources.push((Arc::clone(source), found));
            self.sources.len() - 1
        });
        &self.sources[at].1
    }
}

impl Found {
    fn none(filter: &Filter) -> Found {
        Found {
            conditions: vec![false; filter.conditions.len()],
            ..Found::default()
        }
    }

    fn of_source(filter: &Filter, source: &Source) -> Found {
        let mut found = Found::none(filter);
        let resource = source.resource();
        found.add_attributes(
            filter,
            resource.attributes.iter().map(span_view::of_attribute),
        );
        found.add_text(filter, &source.service);
        found
    }

    fn add(&mut self, other: &Found) {
        for (met, also) in self.conditions.iter_mut().zip(&other.conditions) {
            *met |= also;
        }
        self.text |= other.text;
    }

    fn add_span(&mut self, filter: &Filter, stored: &StoredSpan) {
        let span = SpanView(&stored.bytes);
        if filter.text.is_some() || filter.cached.is_some() {
            let outline = span.outline();
            self.predicts |= outline.name.starts_with("predict ");
            self.reuses |= outline.kind == SERVER && outline.links > 0;
            self.add_text(filter, outline.name);
            if stored.fields.error {
                self.add_text(filter, outline.status_message);
            }
        }
        self.add_attributes(filter, span.attributes());
        for event in span.events() {
            self.add_text(filter, event.name());
            self.add_attributes(filter, event.attributes());
        }
    }

    fn add_attributes<'v, K: AsRef<str>>(
        &mut self,
        filter: &Filter,
        attributes: impl Iterator<Item = (K, ValueView<'v>)>,
    ) {
        for (key, value) in attributes {
            for (met, condition) in self.conditions.iter_mut().zip(&filter.conditions) {
                *met |= condition.key == key.as_ref() && condition.is_met_by(&value);
            }
            if filter.text.is_some() && !self.text {
                self.add_text(filter, &value.text());
            }
        }
    }

    fn add_text(&mut self, filter: &Filter, text: &str) {
        self.text |= filter
            .text
            .as_ref()
            .is_some_and(|part| is_within(part, text));
    }

    /// Whether a condition with `not` has been broken, which later spans cannot mend.
    fn is_excluded(&self, filter: &Filter) -> bool {
        self.pairs(filter)
            .any(|(condition, met)| condition.negated && met)
    }

    /// Whether later spans cannot change the outcome.
    fn is_decided(&self, filter: &Filter) -> bool {
        filter.cached.is_none()
            && (self.text || filter.text.is_none())
            && self
                .pairs(filter)
                .all(|(condition, met)| !condition.negated && met)
    }

    fn is_match(&self, filter: &Filter) -> bool {
        (self.text || filter.text.is_none())
            && self
                .pairs(filter)
                .all(|(condition, met)| condition.negated != met)
            && match filter.cached {
                None => true,
                Some(true) => self.reuses && !self.predicts,
                Some(false) => self.predicts,
            }
    }

    fn pairs<'f>(&'f self, filter: &'f Filter) -> impl Iterator<Item = (&'f Condition, bool)> {
        filter
            .conditions
            .iter()
            .zip(self.conditions.iter().copied())
    }
}
