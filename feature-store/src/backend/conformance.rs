//! The behaviour that every storage engine must have, as one function that the tests of each call.

use std::sync::Arc;

use super::{EntityKey, FeatureBackend, Row, Written};
use crate::time::EventTime;
use crate::value::FeatureValue;
use crate::views::{FeatureView, Views};

/// The views with which an engine under test must be opened. It must be empty.
pub(crate) fn views() -> Views {
    let all = r#"
        [[feature_view]]
        name = "everything"
        join_keys = ["id"]
        features = [
            { name = "f64", dtype = "float64" }, { name = "f32", dtype = "float32" },
            { name = "i64", dtype = "int64" }, { name = "i32", dtype = "int32" },
            { name = "text", dtype = "string" }, { name = "flag", dtype = "bool" }, { name = "raw", dtype = "bytes" },
        ]

        [[feature_view]]
        name = "Order" # a word of many query languages
        join_keys = ["a", "b"]
        features = [{ name = "select", dtype = "int64" }]
    "#;
    Views::parse(all).unwrap()
}

/// Runs the whole suite.
pub(crate) async fn check(backend: &dyn FeatureBackend) {
    let views = views();
    let (everything, order) = (
        views.view("everything").unwrap(),
        views.view("Order").unwrap(),
    );
    backend.ping().await.unwrap();
    names_its_engine(backend);
    marks_are_kept_and_forgotten(backend).await;
    unknown_entities_are_none(backend, everything).await;
    every_value_comes_back(backend, everything).await;
    floats_keep_every_bit(backend, everything).await;
    nulls_come_and_go(backend, everything).await;
    keys_are_exact(backend, order).await;
    answers_follow_the_keys(backend, order).await;
    views_are_apart(backend, everything, order).await;
    later_event_times_win(backend, order).await;
    event_times_are_ordered_over_their_whole_range(backend, order).await;
    the_same_write_twice_is_a_write_once(backend, order).await;
    rows_of_one_write_follow_the_same_rule(backend, order).await;
    many_rows_of_few_entities_in_one_write(backend, order).await;
    large_writes_and_reads(backend, order).await;
    concurrent_writers_leave_the_latest(backend, order).await;
    a_row_is_never_seen_half_written(backend, everything).await;
    the_last_event_time_is_kept_and_its_row_can_be_deleted(backend, order, everything).await;
}

async fn the_last_event_time_is_kept_and_its_row_can_be_deleted(
    backend: &dyn FeatureBackend,
    order: &Arc<FeatureView>,
    everything: &Arc<FeatureView>,
) {
    let last = EventTime::parse("9999-12-31T23:59:59.999999Z").unwrap();
    let sentinel = number(last.micros(), 1);
    let keys = [key("sentinel"), key("never"), key("beside")];
    let rows = vec![
        (keys[0].clone(), sentinel.clone()),
        (keys[2].clone(), number(5, 3)),
    ];
    backend.write(order, rows).await.unwrap();
    let today = vec![(keys[0].clone(), number(1_780_272_000_000_000, 2))];
    let blocked = backend.write(order, today.clone()).await.unwrap();
    assert_eq!((blocked.written, blocked.outdated), (0, 1));
    assert_eq!(
        backend.read(order, &keys[..1]).await.unwrap(),
        [Some(sentinel)]
    );
    assert_eq!(backend.delete(everything, &keys).await.unwrap(), 0);
    assert_eq!(backend.delete(order, &keys[..2]).await.unwrap(), 1);
    assert_eq!(backend.delete(order, &[]).await.unwrap(), 0);
    assert_eq!(
        backend.read(order, &keys).await.unwrap(),
        [None, None, Some(number(5, 3))]
    );
    assert_eq!(backend.write(order, today).await.unwrap().written, 1);
}

pub(crate) fn key(text: &str) -> EntityKey {
    EntityKey::from_texts(&[text])
}

pub(crate) fn at(micros: i64) -> EventTime {
    EventTime::from_micros(micros).unwrap()
}

/// A row of a view with one integer.
pub(crate) fn number(event_time: i64, value: i64) -> Row {
    Row {
        event_time: at(event_time),
        values: [Some(FeatureValue::Int(value))].into(),
    }
}

fn names_its_engine(backend: &dyn FeatureBackend) {
    let engine = backend.engine();
    let calls = [engine.read, engine.write].map(|call| [call.one, call.batch]);
    assert!(
        !engine.system.is_empty() && calls.iter().flatten().all(|name| !name.is_empty()),
        "{engine:?}"
    );
}

async fn marks_are_kept_and_forgotten(backend: &dyn FeatureBackend) {
    assert_eq!(backend.mark("a").await.unwrap(), None);
    backend.set_mark("a", None).await.unwrap();
    for text in ["one", "{\"two\": 'é'}", ""] {
        backend.set_mark("a", Some(text.to_owned())).await.unwrap();
        assert_eq!(backend.mark("a").await.unwrap().as_deref(), Some(text));
    }
    assert_eq!(backend.mark("b").await.unwrap(), None);
    backend.set_mark("a", None).await.unwrap();
    assert_eq!(backend.mark("a").await.unwrap(), None);
}

async fn unknown_entities_are_none(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    assert_eq!(backend.read(view, &[]).await.unwrap(), []);
    assert_eq!(backend.read(view, &[key("nobody")]).await.unwrap(), [None]);
    assert_eq!(
        backend
            .read(view, &[key("nobody"), key("nothing")])
            .await
            .unwrap(),
        [None, None]
    );
}

async fn every_value_comes_back(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    use FeatureValue::{Bool, Bytes, Float, Int, Text};
    let text = |text: &str| Some(Text(text.into()));
    let rows: [(&str, [Option<FeatureValue>; 7]); 4] = [
        ("nulls", [const { None }; 7]),
        (
            "usual",
            [
                Some(Float(0.076)),
                Some(Float(0.1)),
                Some(Int(7)),
                Some(Int(-7)),
                text("a 'quoted' \"text\"; -- \u{1f377}\n\0end"),
                Some(Bool(true)),
                Some(Bytes(vec![0, 255, 39].into())),
            ],
        ),
        (
            "extreme",
            [
                Some(Float(f64::INFINITY)),
                Some(Float(f64::NEG_INFINITY)),
                Some(Int(i64::MAX)),
                Some(Int(i64::from(i32::MIN))),
                text(""),
                Some(Bool(false)),
                Some(Bytes(Vec::new().into())),
            ],
        ),
        (
            "whole",
            [
                Some(Float(3.0)),
                Some(Float(f64::MIN_POSITIVE)),
                Some(Int(i64::MIN)),
                Some(Int(0)),
                text("7"),
                None,
                None,
            ],
        ),
    ];
    for (name, values) in rows {
        let row = Row {
            event_time: at(1_700_000_000_123_456),
            values: values.into(),
        };
        let written = backend
            .write(view, vec![(key(name), row.clone())])
            .await
            .unwrap();
        assert_eq!(
            written,
            Written {
                written: 1,
                outdated: 0
            },
            "{name}"
        );
        assert_eq!(
            backend.read(view, &[key(name)]).await.unwrap(),
            [Some(row.clone())],
            "{name}"
        );
        assert_eq!(
            backend
                .read(view, &[key(name), key("nobody")])
                .await
                .unwrap(),
            [Some(row), None],
            "{name} in a batch"
        );
    }
    // NaN is a value, not null, and is not equal to itself.
    let mut values = [const { None }; 7];
    values[0] = Some(Float(f64::NAN));
    let row = Row {
        event_time: at(-1),
        values: values.into(),
    };
    backend.write(view, vec![(key("nan"), row)]).await.unwrap();
    let read = backend
        .read(view, &[key("nan")])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert!(
        matches!(read.values[0], Some(Float(number)) if number.is_nan()),
        "{read:?}"
    );
    assert_eq!(read.event_time, at(-1), "times before 1970 count too");
}

async fn floats_keep_every_bit(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let numbers = [
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
        f64::from_bits(1),
        0.1 + 0.2,
        1e21,
        123_456_789_012_345_680.0,
        1.0 / 3.0,
        5e-324,
        1e-7,
    ];
    let rows = numbers.iter().zip(0..).map(|(number, at)| {
        let mut values = [const { None }; 7];
        values[0] = Some(FeatureValue::Float(*number));
        (
            key(&format!("float-{at}")),
            Row {
                event_time: self::at(1),
                values: values.into(),
            },
        )
    });
    let rows: Vec<(EntityKey, Row)> = rows.collect();
    let (keys, expected): (Vec<EntityKey>, Vec<Option<Row>>) = rows
        .iter()
        .map(|(key, row)| (key.clone(), Some(row.clone())))
        .unzip();
    backend.write(view, rows).await.unwrap();
    assert_eq!(backend.read(view, &keys).await.unwrap(), expected);
}

async fn nulls_come_and_go(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let full: [Option<FeatureValue>; 7] = [
        Some(FeatureValue::Float(1.0)),
        Some(FeatureValue::Float(2.0)),
        Some(FeatureValue::Int(3)),
        Some(FeatureValue::Int(4)),
        Some(FeatureValue::Text("null".into())),
        Some(FeatureValue::Bool(true)),
        Some(FeatureValue::Bytes(b"null"[..].into())),
    ];
    // All values, then none, then every second one: a null is not absent, and a value does not
    // outlive its row.
    let odd = |at: usize| {
        full.clone()
            .into_iter()
            .enumerate()
            .map(move |(place, value)| value.filter(|_| place % 2 == at))
    };
    let rounds: [Arc<[Option<FeatureValue>]>; 5] = [
        full.clone().into(),
        [const { None }; 7].into(),
        odd(0).collect(),
        odd(1).collect(),
        full.clone().into(),
    ];
    for (values, time) in rounds.into_iter().zip(1..) {
        let row = Row {
            event_time: at(time),
            values,
        };
        backend
            .write(view, vec![(key("sparse"), row.clone())])
            .await
            .unwrap();
        assert_eq!(
            backend.read(view, &[key("sparse")]).await.unwrap(),
            [Some(row)]
        );
    }
}

async fn keys_are_exact(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let keys: Vec<EntityKey> = [
        "A", "a", "a ", "", "é", "e\u{301}", "'", "\"", "%", "{a}", "a\0b", "a\0c", "7", "7.0",
        "07",
    ]
    .map(key)
    .into();
    for (key, value) in keys.iter().zip(0..) {
        backend
            .write(view, vec![(key.clone(), number(1, value))])
            .await
            .unwrap();
    }
    let expected: Vec<Option<Row>> = (0..)
        .take(keys.len())
        .map(|value| Some(number(1, value)))
        .collect();
    assert_eq!(backend.read(view, &keys).await.unwrap(), expected);
    for (key, row) in keys.iter().zip(expected) {
        assert_eq!(
            backend.read(view, std::slice::from_ref(key)).await.unwrap(),
            [row],
            "{key:?} alone"
        );
    }
}

async fn answers_follow_the_keys(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let rows = (0..5)
        .map(|at| (key(&format!("ordered-{at}")), number(1, at)))
        .collect();
    backend.write(view, rows).await.unwrap();
    let asked = ["ordered-3", "nobody", "ordered-0", "ordered-3"].map(key);
    let expected = [
        Some(number(1, 3)),
        None,
        Some(number(1, 0)),
        Some(number(1, 3)),
    ];
    assert_eq!(backend.read(view, &asked).await.unwrap(), expected);
}

async fn views_are_apart(
    backend: &dyn FeatureBackend,
    one: &Arc<FeatureView>,
    other: &Arc<FeatureView>,
) {
    backend
        .write(other, vec![(key("apart"), number(1, 1))])
        .await
        .unwrap();
    assert_eq!(backend.read(one, &[key("apart")]).await.unwrap(), [None]);
}

async fn later_event_times_win(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let write = async |time, value| {
        backend
            .write(view, vec![(key("timed"), number(time, value))])
            .await
            .unwrap()
    };
    let read = async || {
        backend
            .read(view, &[key("timed")])
            .await
            .unwrap()
            .remove(0)
            .unwrap()
    };
    write(100, 1).await;
    assert_eq!(
        write(99, 2).await,
        Written {
            written: 0,
            outdated: 1
        }
    );
    assert_eq!(read().await, number(100, 1), "an older row changes nothing");
    assert_eq!(
        write(100, 3).await,
        Written {
            written: 1,
            outdated: 0
        }
    );
    assert_eq!(
        read().await,
        number(100, 3),
        "of equal times the last one stays"
    );
    write(101, 4).await;
    assert_eq!(read().await, number(101, 4));
}

async fn event_times_are_ordered_over_their_whole_range(
    backend: &dyn FeatureBackend,
    view: &Arc<FeatureView>,
) {
    let (first, last) = (-62_135_596_800_000_000, 253_402_207_200_000_000);
    let mut times = [
        first,
        first + 1,
        -1_000,
        -999,
        -10,
        -9,
        -1,
        0,
        1,
        9,
        10,
        1 << 53,
        (1 << 53) + 1,
        last - 1,
        last,
    ];
    for time in times {
        assert_eq!(
            backend
                .write(view, vec![(key("epochs"), number(time, 7))])
                .await
                .unwrap()
                .written,
            1,
            "{time}"
        );
    }
    times.reverse();
    for time in &times[1..] {
        let written = backend
            .write(view, vec![(key("epochs"), number(*time, 8))])
            .await
            .unwrap();
        assert_eq!(
            written,
            Written {
                written: 0,
                outdated: 1
            },
            "{time}"
        );
    }
    assert_eq!(
        backend.read(view, &[key("epochs")]).await.unwrap(),
        [Some(number(last, 7))]
    );
}

async fn the_same_write_twice_is_a_write_once(
    backend: &dyn FeatureBackend,
    view: &Arc<FeatureView>,
) {
    for _ in 0..2 {
        let rows = [(key("twice"), number(5, 1)), (key("also"), number(6, 2))];
        assert_eq!(
            backend.write(view, rows.into()).await.unwrap(),
            Written {
                written: 2,
                outdated: 0
            }
        );
    }
    let read = backend
        .read(view, &[key("twice"), key("also")])
        .await
        .unwrap();
    assert_eq!(read, [Some(number(5, 1)), Some(number(6, 2))]);
}

async fn rows_of_one_write_follow_the_same_rule(
    backend: &dyn FeatureBackend,
    view: &Arc<FeatureView>,
) {
    let rows = [(5, 1), (9, 2), (7, 3)].map(|(time, value)| (key("thrice"), number(time, value)));
    let written = backend.write(view, rows.into()).await.unwrap();
    assert_eq!(
        written,
        Written {
            written: 2,
            outdated: 1
        }
    );
    assert_eq!(
        backend.read(view, &[key("thrice")]).await.unwrap(),
        [Some(number(9, 2))]
    );
}

async fn many_rows_of_few_entities_in_one_write(
    backend: &dyn FeatureBackend,
    view: &Arc<FeatureView>,
) {
    // Like a file of hourly measurements. The second half comes first, so every other
    // row of it is older.
    backend
        .write(view, vec![(key("hourly-0"), number(60, -1))])
        .await
        .unwrap();
    let times = (50..100).chain(0..50);
    let rows = times
        .flat_map(|time| (0..3).map(move |at| (key(&format!("hourly-{at}")), number(time, time))));
    let written = backend.write(view, rows.collect()).await.unwrap();
    assert_eq!(
        written,
        Written {
            written: 140,
            outdated: 160
        }
    );
    let keys = [0, 1, 2].map(|at| key(&format!("hourly-{at}")));
    assert_eq!(
        backend.read(view, &keys).await.unwrap(),
        [const { 99 }; 3].map(|time| Some(number(time, time)))
    );
}

async fn large_writes_and_reads(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let keys: Vec<EntityKey> = (0..2_000).map(|at| key(&format!("large-{at}"))).collect();
    let rows = keys
        .iter()
        .zip(0..)
        .map(|(key, value)| (key.clone(), number(1, value)))
        .collect();
    assert_eq!(backend.write(view, rows).await.unwrap().written, 2_000);
    let read = backend.read(view, &keys).await.unwrap();
    assert!(
        read.into_iter()
            .eq((0..2_000).map(|value| Some(number(1, value))))
    );
}

async fn concurrent_writers_leave_the_latest(
    backend: &dyn FeatureBackend,
    view: &Arc<FeatureView>,
) {
    // Polled together, in an order that has nothing to do with the times.
    let order = [7, 2, 9, 4, 1, 8, 3, 6, 5, 0];
    let writes =
        order.map(|time| backend.write(view, vec![(key("contended"), number(time, time * 10))]));
    let mut writes = writes.map(Some);
    let mut outcomes = Vec::new();
    std::future::poll_fn(|context| {
        for slot in &mut writes {
            if let Some(write) = slot
                && let std::task::Poll::Ready(outcome) = write.as_mut().poll(context)
            {
                outcomes.push(outcome.unwrap());
                *slot = None;
            }
        }
        if writes.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    assert_eq!(
        outcomes
            .iter()
            .map(|written| written.written + written.outdated)
            .sum::<u64>(),
        10
    );
    assert_eq!(
        backend.read(view, &[key("contended")]).await.unwrap(),
        [Some(number(9, 90))]
    );
}

async fn a_row_is_never_seen_half_written(backend: &dyn FeatureBackend, view: &Arc<FeatureView>) {
    let row = |time: i64| {
        let mut values = [const { None }; 7];
        values[2] = Some(FeatureValue::Int(time));
        // Null in every second row.
        values[3] = (time % 2 == 0).then_some(FeatureValue::Int(time));
        values[4] = Some(FeatureValue::Text(time.to_string().into()));
        Row {
            event_time: at(time),
            values: values.into(),
        }
    };
    let whole = key("seen-whole");
    backend
        .write(view, vec![(whole.clone(), row(0))])
        .await
        .unwrap();
    let writing = async {
        for time in 1..200 {
            backend
                .write(view, vec![(whole.clone(), row(time))])
                .await
                .unwrap();
        }
    };
    let reading = async {
        loop {
            let seen = backend
                .read(view, std::slice::from_ref(&whole))
                .await
                .unwrap()
                .remove(0)
                .unwrap();
            assert_eq!(seen, row(seen.event_time.micros()));
            if seen.event_time == at(199) {
                break;
            }
        }
    };
    tokio::join!(writing, reading);
}
