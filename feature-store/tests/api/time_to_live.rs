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

/// The answer to a write of driver 7 with this event time.
async fn try_write(server: &Server, time: &str) -> (u16, Value) {
    let df = json!({"driver_id": [7], "conv_rate": [0.5], "trips": [9], "event_timestamp": [time]});
    let body = json!({"feature_view_name": "driver_stats", "df": df}).to_string();
    let reply = server.post("/write-to-online-store", body.as_bytes()).await;
    (reply.status, reply.json())
}

#[tokio::test]
async fn an_event_of_the_near_future_counts() {
    let server = Server::start().await;
    // A client 14 hours east of UTC that sends its local time without an offset.
    write(&server, json!(3), "2026-06-02T02:00:00").await;
    assert_eq!(
        both(&server).await[0],
        cell(3, "PRESENT", "2026-06-02T02:00:00Z")
    );
    assert_eq!(try_write(&server, "2026-06-02T12:00:00Z").await.0, 200);
}

#[tokio::test]
async fn an_event_of_the_far_future_is_refused_and_blocks_nobody() {
    let server = Server::start().await;
    for time in [
        "9999-12-31T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2027-01-01T00:00:00Z",
        "2026-06-02T12:00:00.000001Z",
    ] {
        let (status, body) = try_write(&server, time).await;
        let detail = &body["detail"][0];
        assert_eq!(
            (status, &detail["type"], &detail["loc"]),
            (
                422,
                &json!("value_error"),
                &json!(["body", "df", "event_timestamp", "0"])
            ),
            "{body}"
        );
        let said = detail["msg"].as_str().unwrap();
        assert!(
            said.starts_with(&format!("{time} is too far in the future"))
                && said.contains(NOW)
                && said.contains("--max-future"),
            "{said}"
        );
    }
    write(&server, json!(3), NOW).await;
    assert_eq!(both(&server).await[0].0, json!(3));
}

#[tokio::test]
async fn with_a_larger_bound_every_time_of_rfc_3339_is_stored() {
    let server = Server::start_with(&["--max-future", "3000000d"]).await;
    for time in [
        "0001-01-01T00:00:00Z",
        "9999-12-31T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ] {
        write(&server, json!(3), time).await;
        assert_eq!(both(&server).await[1], cell(3, "PRESENT", time));
    }
}

#[tokio::test]
async fn a_clock_that_steps_serves_no_row_longer_than_its_ttl_or_the_cache() {
    let time = |text: &str| feature_store::time::EventTime::parse(text).unwrap();
    let server = Server::start_with(&["--cache-max-age", "5s"]).await;
    write(&server, json!(3), NOW).await;
    assert_eq!(both(&server).await[0].1, json!("PRESENT"));
    // Forward beyond the ttl, from the cache.
    server.clock.set(time("2026-06-01T13:00:01Z"));
    assert_eq!(both(&server).await[0].1, json!("OUTSIDE_MAX_AGE"));
    // Back a day, and again to where it was when the row was cached, a day later: another process
    // has changed the row meanwhile.
    server.clock.set(time(NOW));
    assert_eq!(both(&server).await[0].0, json!(3));
    rusqlite::Connection::open(server.database())
        .unwrap()
        .execute("UPDATE driver_stats SET trips = 4", [])
        .unwrap();
    server.clock.set(time("2026-05-31T12:00:00Z"));
    server.clock.advance(Duration::from_hours(24));
    assert_eq!(both(&server).await[0].0, json!(4));
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
