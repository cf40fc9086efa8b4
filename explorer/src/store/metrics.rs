//! The last data point of every series and a thinned history, bounded by bytes and by number of series; the series that
//! was not updated for longest is evicted first.

mod data_point;
mod history;

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use parking_lot::Mutex;
use prost::{DecodeError, Message};
use serde_json::{Map, Value};

use data_point::DataPoints;
pub(crate) use data_point::{DataPoint, Instrument};
use history::History;
pub(crate) use history::{Buckets, PastPoint};

use super::{Counts, Source, SourceSet};
use crate::attribute;

/// Series of all services.
const MAX_SERIES: usize = 8_192;
/// An eighth of the series is evicted at once, so that a flood of new series does not search for
/// the oldest each time.
const EVICTED_PART: usize = 8;
/// A series beside its texts and buckets: its slot in a map that is half full, the allocations.
const OVERHEAD: usize = (size_of::<SeriesKey>() + size_of::<Series>()) * 2 + 64;

/// The data points of one metric in a request.
pub(crate) struct ReceivedMetric {
    instrument: Instrument,
    points: DataPoints,
}

/// A copy of one series, for readers.
pub(crate) struct SeriesView {
    pub source: Arc<Source>,
    pub instrument: Arc<Instrument>,
    pub attributes: Map<String, Value>,
    pub point: DataPoint,
}

/// A copy of one series with its past, for readers.
pub(crate) struct SeriesHistory {
    pub source: Arc<Source>,
    pub instrument: Arc<Instrument>,
    pub attributes: Map<String, Value>,
    /// Upper ends of the buckets of a histogram but the last, which has none.
    pub bounds: Vec<f64>,
    /// The oldest first, the newest is the last data point. Those of counters and histograms are
    /// totals, also if the sender tells what was added.
    pub points: Vec<PastPoint>,
}

#[derive(PartialEq, Eq, Hash)]
struct SeriesKey {
    source: Arc<Source>,
    name: Arc<str>,
    /// Sorted by key and encoded.
    attributes: Box<[u8]>,
}

struct Series {
    instrument: Arc<Instrument>,
    point: DataPoint,
    history: History,
    /// The number of the store's update that wrote this series. The senders' clocks cannot be
    /// trusted to order the series.
    updated: u64,
    cost: usize,
}

pub(crate) struct MetricStore {
    series: Mutex<SeriesMap>,
    max_bytes: usize,
}

#[derive(Default)]
struct SeriesMap {
    sources: SourceSet,
    series: HashMap<SeriesKey, Series>,
    bytes: usize,
    updates: u64,
    counts: Counts,
}

impl ReceivedMetric {
    /// The points of a metric; `Ok(None)` when it has no data.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<ReceivedMetric>, DecodeError> {
        let metric = Metric::decode(bytes)?;
        Ok(data_point::read(metric)
            .map(|(instrument, points)| ReceivedMetric { instrument, points }))
    }
}

impl MetricStore {
    pub(crate) fn new(max_bytes: usize) -> MetricStore {
        MetricStore {
            series: Mutex::default(),
            max_bytes,
        }
    }

    /// Stores data points of one source and returns how many it refused.
    pub(crate) fn insert(&self, source: Source, metrics: Vec<ReceivedMetric>) -> usize {
        let mut map = self.series.lock();
        let source = map.sources.intern(source);
        let mut refused = 0;
        for metric in metrics {
            let instrument = Arc::new(metric.instrument);
            let name: Arc<str> = instrument.name.as_str().into();
            for (attributes, point) in metric.points {
                map.counts.received += 1;
                let attributes = encode_in_order(attributes);
                let key = SeriesKey {
                    source: Arc::clone(&source),
                    name: Arc::clone(&name),
                    attributes,
                };
                refused += usize::from(!map.put(self.max_bytes, key, &instrument, point));
            }
        }
        map.counts.refused += refused as u64;
        map.sources.release(source);
        map.make_room(self.max_bytes, 0, 0);
        refused
    }

    /// Counts data points that were refused before they reached the store.
    pub(crate) fn count_refused(&self, points: usize) {
        self.series.lock().counts.refuse(points);
    }

    /// Metric names with the number of their series, in order.
    pub(crate) fn names(&self) -> BTreeMap<String, usize> {
        let map = self.series.lock();
        let mut names = BTreeMap::new();
        for key in map.series.keys() {
            *names.entry(key.name.to_string()).or_default() += 1;
        }
        names
    }

    /// The series of one metric, by service and attributes.
    pub(crate) fn series(&self, name: &str) -> Vec<SeriesView> {
        let map = self.series.lock();
        let mut found: Vec<_> = map
            .series
            .iter()
            .filter(|(key, _)| &*key.name == name)
            .collect();
        found.sort_by(|(a, _), (b, _)| {
            (&a.source.service, &a.attributes).cmp(&(&b.source.service, &b.attributes))
        });
        found
            .into_iter()
            .map(|(key, series)| series.view(key))
            .collect()
    }

    /// The series of some metrics with a data point that was stored after the update `cursor`, and
    /// the next cursor.
    pub(crate) fn newer_than(&self, cursor: u64, names: &[&str]) -> (Vec<SeriesView>, u64) {
        let map = self.series.lock();
        let newer = map
            .series
            .iter()
            .filter(|(key, series)| series.updated > cursor && names.contains(&&*key.name));
        let views = newer.map(|(key, series)| series.view(key)).collect();
        (views, map.updates)
    }

    /// The series of one metric with their pasts, by service and attributes.
    pub(crate) fn history(&self, name: &str) -> Vec<SeriesHistory> {
        let map = self.series.lock();
        let of_name = map.series.iter().filter(|(key, _)| &*key.name == name);
        let mut found: Vec<_> = of_name.collect();
        found.sort_by(|(a, _), (b, _)| {
            (&a.source.service, &a.attributes).cmp(&(&b.source.service, &b.attributes))
        });
        found
            .into_iter()
            .map(|(key, series)| SeriesHistory {
                source: Arc::clone(&key.source),
                instrument: Arc::clone(&series.instrument),
                attributes: key.attributes(),
                bounds: series.point.bounds(),
                points: series.history.points(),
            })
            .collect()
    }

    /// Calls `visit` with the service of every series.
    pub(crate) fn each_series(&self, mut visit: impl FnMut(&str)) {
        self.series
            .lock()
            .series
            .keys()
            .for_each(|key| visit(&key.source.service));
    }

    pub(crate) fn counts(&self) -> Counts {
        let map = self.series.lock();
        Counts {
            held: map.series.len() as u64,
            bytes: (map.bytes + map.sources.bytes()) as u64,
            max_bytes: self.max_bytes as u64,
            ..map.counts
        }
    }
}

impl SeriesMap {
    /// Returns false for a data point that is refused.
    fn put(
        &mut self,
        max_bytes: usize,
        key: SeriesKey,
        instrument: &Arc<Instrument>,
        point: DataPoint,
    ) -> bool {
        let cost = OVERHEAD + key.attributes.len() + instrument.cost() + point.cost();
        if cost > max_bytes / 4 {
            return false;
        }
        self.updates += 1;
        // A retry after a later export must not go back in time.
        if let Some(known) = self.series.get(&key)
            && known.point.time > point.time
        {
            self.counts.duplicates += 1;
            return true;
        }
        let known = self.series.get_mut(&key);
        let new = usize::from(known.is_none());
        let mut history = known.map_or_else(History::default, |series| {
            std::mem::take(&mut series.history)
        });
        history.push(instrument, &point);
        if cost + history.cost() > max_bytes / 4 {
            history = History::default();
            history.push(instrument, &point);
        }
        let cost = cost + history.cost();
        self.make_room(max_bytes, cost, new);
        let series = Series {
            instrument: Arc::clone(instrument),
            point,
            history,
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
            && (self.bytes + self.sources.bytes() + cost > max_bytes
                || self.series.len() + new > MAX_SERIES)
        {
            let mut updates: Vec<u64> = self.series.values().map(|series| series.updated).collect();
            let last = updates.len() / EVICTED_PART;
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
            self.sources.release(key.source);
        }
    }
}

impl SeriesKey {
    fn attributes(&self) -> Map<String, Value> {
        let list = KeyValueList::decode(&self.attributes[..]).unwrap_or_default();
        attribute::plain_map(list.values)
    }
}

impl Series {
    fn view(&self, key: &SeriesKey) -> SeriesView {
        SeriesView {
            source: Arc::clone(&key.source),
            instrument: Arc::clone(&self.instrument),
            attributes: key.attributes(),
            point: self.point.clone(),
        }
    }
}

/// The same attributes in another order are the same series.
fn encode_in_order(mut values: Vec<KeyValue>) -> Box<[u8]> {
    values.sort_by(|a, b| a.key.cmp(&b.key));
    KeyValueList { values }.encode_to_vec().into_boxed_slice()
}
