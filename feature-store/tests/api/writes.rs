//! Pushes and writes: acknowledged when durable, whole or not at all, and never over something
//! newer.

use serde_json::{Value, json};

use crate::server::{NOW, Server, VIEWS};

const LATER: &str = "2026-06-01T12:00:01Z";
const EARLIER: &str = "2026-06-01T11:59:59Z";

async fn trips(server: &Server, id: &str) -> Value {
    let request = json!({"features": ["driver_stats:trips"], "entities": {"driver_id": [id]}});
    server.lookup(request).await["results"][1]["values"][0].clone()
}

fn df(id: &str, trips: impl Into<Value>, time: &str) -> Value {
    json!({"driver_id": [id], "conv_rate": [0.5], "trips": [trips.into()], "event_timestamp": [time]})
}

#[tokio::test]
async fn a_push_goes_into_every_view_of_the_source() {
    let server = Server::start().await;
    let body = json!({"push_source_name": "driver_push", "to": "online", "allow_registry_cache": true, "transform_on_write": true,
        "df": {"driver_id": [7], "conv_rate": [0.5], "trips": [3], "photo": ["AP8="], "event_timestamp": [NOW]}});
    let reply = server.post("/push", body.to_string().as_bytes()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    let request = json!({"features": ["driver_stats:trips", "driver_profile:trips", "driver_profile:photo"],
        "entities": {"driver_id": [7]}, "full_feature_names": true});
    let answer = server.lookup(request).await;
    let values: Vec<&Value> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["values"][0])
        .collect();
    assert_eq!(values, [&json!(7), &json!(3), &json!(3), &json!("AP8=")]);
}

#[tokio::test]
async fn a_push_that_fits_one_view_only_writes_none() {
    let server = Server::start().await;
    let df =
        json!({"driver_id": ["7"], "conv_rate": [0.5], "trips": [3], "event_timestamp": [NOW]});
    let reply = server
        .post(
            "/push",
            json!({"push_source_name": "driver_push", "df": df})
                .to_string()
                .as_bytes(),
        )
        .await;
    assert_eq!(
        (reply.status, &reply.json()["detail"][0]["loc"]),
        (422, &json!(["body", "df", "photo"]))
    );
    assert_eq!(trips(&server, "7").await, Value::Null);
}

#[tokio::test]
async fn there_is_no_offline_store_to_push_to() {
    let server = Server::start().await;
    for target in ["offline", "online_and_offline", "nowhere"] {
        let body = json!({"push_source_name": "driver_push", "to": target, "df": {}});
        let reply = server.post("/push", body.to_string().as_bytes()).await;
        assert_eq!(reply.status, 422, "{target}: {}", reply.text());
        assert!(reply.json()["detail"].is_array());
    }
}

#[tokio::test]
async fn a_write_replaces_a_cached_row_at_once() {
    let server = Server::start().await;
    server.write("driver_stats", df("7", 1, NOW)).await;
    for _ in 0..2 {
        assert_eq!(trips(&server, "7").await, json!(1));
    }
    server.write("driver_stats", df("7", 2, LATER)).await;
    assert_eq!(trips(&server, "7").await, json!(2));
}

#[tokio::test]
async fn an_older_event_never_overwrites_a_newer_one() {
    let server = Server::start().await;
    server.write("driver_stats", df("7", 1, NOW)).await;
    server.write("driver_stats", df("7", 2, EARLIER)).await;
    assert_eq!(trips(&server, "7").await, json!(1));
    server.write("driver_stats", df("7", 3, NOW)).await;
    assert_eq!(
        trips(&server, "7").await,
        json!(3),
        "a correction of the same event counts"
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_process() {
    let mut server = Server::start().await;
    server.write("driver_stats", df("7", 1, NOW)).await;
    server.restart_with(VIEWS).await;
    assert_eq!(trips(&server, "7").await, json!(1));
}

#[tokio::test]
async fn a_write_of_another_process_is_seen_when_the_cached_row_is_old() {
    let server = Server::start().await;
    server.write("driver_stats", df("7", 1, NOW)).await;
    assert_eq!(trips(&server, "7").await, json!(1));
    let changed = load_past_the_cache(&server);
    assert_eq!(
        trips(&server, "7").await,
        json!(1),
        "{changed} row was changed behind the cache"
    );
    server.clock.advance(std::time::Duration::from_secs(6));
    assert_eq!(trips(&server, "7").await, json!(2));
}

/// Writes as `feature-store materialize` in another process does: into the same file, past this
/// process's cache.
fn load_past_the_cache(server: &Server) -> u64 {
    let views = feature_store::views::Views::parse(VIEWS).expect("they are well-formed");
    let database = server.database();
    let backend = feature_store::backend::sqlite::SqliteBackend::open(&database, &views)
        .expect("the file is there");
    let view = std::sync::Arc::clone(views.view("driver_stats").expect("it is declared"));
    let text = std::io::Cursor::new(format!(
        "driver_id,conv_rate,trips,event_timestamp\n7,0.5,2,{LATER}\n"
    ));
    let options = feature_store::materialize::ReadOptions {
        format: feature_store::materialize::Format::Csv,
        map: Vec::new(),
        event_time: feature_store::time::EventTime::parse(NOW).expect("a time"),
        max_future: std::time::Duration::from_hours(24),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let load = std::thread::spawn(move || {
        runtime.block_on(feature_store::materialize::write_all(
            std::sync::Arc::new(backend),
            &view,
            text,
            &options,
        ))
    });
    load.join()
        .expect("no panic")
        .expect("the file loads")
        .rows
        .written
}

#[tokio::test]
async fn tables_of_another_form_are_refused_with_the_place() {
    let server = Server::start().await;
    let good = df("7", 1, NOW);
    let with = |column: &str, values: Value| {
        let mut df = good.clone();
        df[column] = values;
        df
    };
    let without = |column: &str| {
        let mut df = good.clone();
        df.as_object_mut().unwrap().remove(column);
        df
    };
    for (df, kind, loc) in [
        (
            without("driver_id"),
            "missing",
            json!(["body", "df", "driver_id"]),
        ),
        (
            without("event_timestamp"),
            "missing",
            json!(["body", "df", "event_timestamp"]),
        ),
        (without("trips"), "missing", json!(["body", "df", "trips"])),
        (
            with("trips", json!([1, 2])),
            "value_error",
            json!(["body", "df", "trips"]),
        ),
        (
            with("trips", json!([1.5])),
            "type_error",
            json!(["body", "df", "trips", "0"]),
        ),
        (
            with("conv_rate", json!(["much"])),
            "type_error",
            json!(["body", "df", "conv_rate", "0"]),
        ),
        (
            with("event_timestamp", json!(["noon"])),
            "datetime_parsing",
            json!(["body", "df", "event_timestamp", "0"]),
        ),
        (
            with("event_timestamp", json!([1_780_315_200_i64])),
            "datetime_parsing",
            json!(["body", "df", "event_timestamp", "0"]),
        ),
        (
            with("created", json!(["noon"])),
            "datetime_parsing",
            json!(["body", "df", "created", "0"]),
        ),
        (
            with("driver_id", json!([[1]])),
            "entity_type",
            json!(["body", "df", "driver_id", "0"]),
        ),
    ] {
        let body = json!({"feature_view_name": "driver_stats", "df": df});
        let reply = server
            .post("/write-to-online-store", body.to_string().as_bytes())
            .await;
        let detail = &reply.json()["detail"][0];
        assert_eq!(
            (reply.status, &detail["type"], &detail["loc"]),
            (422, &json!(kind), &loc),
            "{body}: {detail}"
        );
    }
    assert_eq!(
        trips(&server, "7").await,
        Value::Null,
        "nothing of all this was written"
    );
}
