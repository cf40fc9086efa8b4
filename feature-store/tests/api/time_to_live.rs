//! Values that are too old, null or unknown have different statuses; the test moves the clock.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{NOW, Server};

/// Value, status and time of `driver_stats:trips` and `driver_profile:trips` of driver 7.
async fn both(server: &Server) -> [(Value, Value, Value); 2] {
    let request = json!({"features": ["driver_stats:trips", "driver_profile:trips"], "entities": {"driver_id": [7]},
        "full_feature_names": true});
    let answer = server.lookup(request).await;
    [1, 2].map(|at| {
        let column = &answer["results"][at];
        (
            column["values"][0].clone(),
            column["statuses"][0].clone(),
            column["event_timestamps"][0].clone(),
        )
    })
}

fn cell(value: impl Into<Value>, status: &str, time: &str) -> (Value, Value, Value) {
    (value.into(), status.into(), time.into())
}

async fn write(server: &Server, trips: Value, time: &str) {
    let df = json!({"driver_id": [7], "conv_rate": [0.5], "trips": [trips], "photo": [null], "event_timestamp": [time]});
    server.write("driver_stats", df.clone()).await;
    server.write("driver_profile", df).await;
}

#[tokio::test]
async fn a_row_counts_until_its_ttl_has_passed() {
    let server = Server::start().await;
    write(&server, json!(3), NOW).await;
    assert_eq!(
        both(&server).await,
        [cell(3, "PRESENT", NOW), cell(3, "PRESENT", NOW)]
    );
    server.clock.advance(Duration::from_hours(1));
    assert_eq!(
        both(&server).await[0],
        cell(3, "PRESENT", NOW),
        "exactly as old as the ttl"
    );
    server.clock.advance(Duration::from_micros(1));
    let old = [
        cell(Value::Null, "OUTSIDE_MAX_AGE", NOW),
        cell(3, "PRESENT", NOW),
    ];
    assert_eq!(
        both(&server).await,
        old,
        "a view without ttl keeps its rows"
    );
    assert_eq!(both(&server).await, old, "from the cache the same");
    write(&server, json!(4), "2026-06-01T13:00:00Z").await;
    assert_eq!(
        both(&server).await[0],
        cell(4, "PRESENT", "2026-06-01T13:00:00Z"),
        "a new row counts again"
    );
}

#[tokio::test]
async fn a_cached_row_grows_too_old_in_the_cache() {
    let server = Server::start_with(&["--cache-max-age", "1d"]).await;
    write(&server, json!(3), NOW).await;
    assert_eq!(both(&server).await[0].1, json!("PRESENT"));
    server.clock.advance(Duration::from_mins(61));
    assert_eq!(both(&server).await[0].1, json!("OUTSIDE_MAX_AGE"));
}

#[tokio::test]
async fn an_event_of_the_future_counts() {
    let server = Server::start().await;
    write(&server, json!(3), "2027-01-01T00:00:00Z").await;
    assert_eq!(
        both(&server).await[0],
        cell(3, "PRESENT", "2027-01-01T00:00:00Z")
    );
}

#[tokio::test]
async fn null_old_and_unknown_are_three_things() {
    let server = Server::start().await;
    assert_eq!(
        both(&server).await,
        [(); 2].map(|()| cell(Value::Null, "NOT_FOUND", "1970-01-01T00:00:00Z"))
    );
    write(&server, Value::Null, NOW).await;
    assert_eq!(
        both(&server).await,
        [(); 2].map(|()| cell(Value::Null, "NULL_VALUE", NOW))
    );
    server.clock.advance(Duration::from_hours(2));
    let expected = [
        cell(Value::Null, "OUTSIDE_MAX_AGE", NOW),
        cell(Value::Null, "NULL_VALUE", NOW),
    ];
    assert_eq!(both(&server).await, expected);
}
