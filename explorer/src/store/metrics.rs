//! The last point of every series, bounded by bytes and by number of series; the series not updated for longest goes first.

mod point;

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use prost::{DecodeError, Message};
use serde_json::{Map, Value};

pub(crate) use point::{Instrument, Point};

use super::{Counts, Interner, Origin, lock};
use crate::value;

/// Series of all services; the parts of Throughline have about 300 together.
const MAX_SERIES: usize = 8_192;
/// When full, this part of the series goes at once, so that a flood of new ones does not look for the oldest each time.
const EVICTED_AT_ONCE: usize = 8;
/// A series beside its texts and buckets: its slot in a map that is half full, the allocations.
const OVERHEAD: usize = (size_of::<SeriesKey>() + size_of::<Series>()) * 2 + 64;

/// Points of one metric that came together.
pub(crate) struct MetricPoints {
    instrument: Instrument,
    points: point::Points,
}

/// One series for a reader.
pub(crate) struct SeriesView {
    pub origin: Arc<Origin>,
    pub instrument: Arc<Instrument>,
    pub attributes: Map<String, Value>,
    pub point: Point,
}

/// Resource and scope, metric name, attributes in order, encoded.
#[derive(PartialEq, Eq, Hash)]
struct SeriesKey {
    origin: Arc<Origin>,
    name: Arc<str>,
    attributes: Box<[u8]>,
}

struct Series {
    instrument: Arc<Instrument>,
    point: Point,
    /// Counts updates of the store, so that the longest silent series is known without trusting the senders' clocks.
    updated: u64,
    cost: usize,
}

pub(crate) struct MetricStore {
    inner: Mutex<Inner>,
    max_bytes: usize,
}

#[derive(Default)]
struct Inner {
    origins: Interner,
    series: HashMap<SeriesKey, Series>,
    bytes: usize,
    updates: u64,
    counts: Counts,
}

impl MetricPoints {
    /// The points of a metric; `Ok(None)` when it has no data.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<MetricPoints>, DecodeError> {
        let metric = Metric::decode(bytes)?;
        Ok(point::read(metric).map(|(instrument, points)| MetricPoints { instrument, points }))
    }
}

impl MetricStore {
    pub(crate) fn new(max_bytes: usize) -> MetricStore {
        MetricStore {
            inner: Mutex::default(),
            max_bytes,
        }
    }

    /// Stores the points of one origin and says how many it refused.
    pub(crate) fn insert(&self, origin: Origin, metrics: Vec<MetricPoints>) -> usize {
        let mut inner = lock(&self.inner);
        let origin = inner.origins.intern(origin);
        let mut refused = 0;
        for metric in metrics {
            let instrument = Arc::new(metric.instrument);
            let name: Arc<str> = instrument.name.as_str().into();
            for (attributes, point) in metric.points {
                inner.counts.received += 1;
                let attributes = encode_in_order(attributes);
                let key = SeriesKey {
                    origin: Arc::clone(&origin),
                    name: Arc::clone(&name),
                    attributes,
                };
                refused += usize::from(!inner.put(self.max_bytes, key, &instrument, point));
            }
        }
        inner.counts.refused += refused as u64;
        inner.origins.release(origin);
        inner.make_room(self.max_bytes, 0, 0);
        refused
    }

    /// Counts points that were refused before they came here.
    pub(crate) fn count_refused(&self, points: usize) {
        let mut inner = lock(&self.inner);
        inner.counts.received += points as u64;
        inner.counts.refused += points as u64;
    }

    /// Metric names with the number of their series, in order.
    pub(crate) fn names(&self) -> BTreeMap<String, usize> {
        let inner = lock(&self.inner);
        let mut names = BTreeMap::new();
        for key in inner.series.keys() {
            *names.entry(key.name.to_string()).or_default() += 1;
        }
        names
    }

    /// The series of one metric, by service and attributes.
    pub(crate) fn series(&self, name: &str) -> Vec<SeriesView> {
        let inner = lock(&self.inner);
        let mut found: Vec<_> = inner
            .series
            .iter()
            .filter(|(key, _)| &*key.name == name)
            .collect();
        found.sort_by(|(a, _), (b, _)| {
            (&a.origin.service, &a.attributes).cmp(&(&b.origin.service, &b.attributes))
        });
        found
            .into_iter()
            .map(|(key, series)| series.view(key))
            .collect()
    }

    /// Calls `visit` with the service of every series held.
    pub(crate) fn each_series(&self, mut visit: impl FnMut(&str)) {
        lock(&self.inner)
            .series
            .keys()
            .for_each(|key| visit(&key.origin.service));
    }

    pub(crate) fn counts(&self) -> Counts {
        let inner = lock(&self.inner);
        Counts {
            held: inner.series.len() as u64,
            bytes: (inner.bytes + inner.origins.bytes()) as u64,
            max_bytes: self.max_bytes as u64,
            ..inner.counts
        }
    }
}

impl Inner {
    fn put(
        &mut self,
        max_bytes: usize,
        key: SeriesKey,
        instrument: &Arc<Instrument>,
        point: Point,
    ) -> bool {
        let cost = OVERHEAD + key.attributes.len() + instrument.cost() + point.cost();
        if cost > max_bytes / 4 {
            return false;
        }
        self.updates += 1;
        // A point that was overtaken on the way (a retry after a later export) does not go back in time.
        if let Some(known) = self.series.get(&key)
            && known.point.time > point.time
        {
            self.counts.duplicates += 1;
            return true;
        }
        self.make_room(
            max_bytes,
            cost,
            usize::from(!self.series.contains_key(&key)),
        );
        let series = Series {
            instrument: Arc::clone(instrument),
            point,
            updated: self.updates,
            cost,
        };
        self.bytes += cost;
        if let Some(old) = self.series.insert(key, series) {
            self.bytes -= old.cost;
        }
        true
    }

    /// Evicts until `cost` more bytes and `new` more series fit.
    fn make_room(&mut self, max_bytes: usize, cost: usize, new: usize) {
        while !self.series.is_empty()
            && (self.bytes + self.origins.bytes() + cost > max_bytes
                || self.series.len() + new > MAX_SERIES)
        {
            let mut updates: Vec<u64> = self.series.values().map(|series| series.updated).collect();
            let last = updates.len() / EVICTED_AT_ONCE;
            let (_, newest_evicted, _) = updates.select_nth_unstable(last);
            let newest_evicted = *newest_evicted;
            let (old, kept) = mem::take(&mut self.series)
                .into_iter()
                .partition(|(_, series)| series.updated <= newest_evicted);
            self.series = kept;
            self.drop_series(old);
        }
    }

    fn drop_series(&mut self, old: HashMap<SeriesKey, Series>) {
        for (key, series) in old {
            self.bytes -= series.cost;
            self.counts.evicted += 1;
            self.origins.release(key.origin);
        }
    }
}

impl Series {
    fn view(&self, key: &SeriesKey) -> SeriesView {
        SeriesView {
            origin: Arc::clone(&key.origin),
            instrument: Arc::clone(&self.instrument),
            attributes: value::plain_map(
                Attributes::decode(&key.attributes[..])
                    .unwrap_or_default()
                    .list,
            ),
            point: self.point.clone(),
        }
    }
}

/// Attributes as one message, since the same set in another order is the same series.
#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, repeated, tag = "1")]
    list: Vec<KeyValue>,
}

fn encode_in_order(mut list: Vec<KeyValue>) -> Box<[u8]> {
    list.sort_by(|a, b| a.key.cmp(&b.key));
    Attributes { list }.encode_to_vec().into_boxed_slice()
}
