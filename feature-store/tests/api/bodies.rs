//! Bodies on the wire, word for word as Feast's clients read them.

use harness::Answer;
use serde_json::{Value, json};

use crate::server::{NOW, Server};

const EPOCH: &str = "1970-01-01T00:00:00Z";

async fn with_two_drivers() -> Server {
    let server = Server::start().await;
    let df = json!({"driver_id": [1001, 1002], "conv_rate": [0.0203, 0.697], "trips": [49, 837],
        "event_timestamp": ["2026-06-01T11:30:00", "2026-06-01T11:45:00.5Z"], "created": [null, NOW]});
    server.write("driver_stats", df).await;
    server
}

/// The text of an error body that Feast's client turns into an exception.
fn exception(class: &str, message: &str) -> String {
    json!(format!(
        r#"{{"module": "feast.errors", "class": "{class}", "message": "{message}"}}"#
    ))
    .to_string()
}

async fn refused(server: &Server, path: &str, body: Value) -> Answer {
    let reply = server.post(path, body.to_string().as_bytes()).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply
}

#[tokio::test]
async fn a_lookup_answers_the_observed_body() {
    let server = with_two_drivers().await;
    let body =
        br#"{"features":["driver_stats:conv_rate","driver_stats:trips"],"entities":{"driver_id":[1001,1002,9999]}}"#;
    let reply = server.post("/get-online-features", body).await;
    let expected = concat!(
        r#"{"results":[{"values":[1001,1002,9999],"statuses":["PRESENT","PRESENT","PRESENT"],"#,
        r#""event_timestamps":["1970-01-01T00:00:00Z","1970-01-01T00:00:00Z","1970-01-01T00:00:00Z"]},"#,
        r#"{"values":[0.0203,0.697,null],"statuses":["PRESENT","PRESENT","NOT_FOUND"],"#,
        r#""event_timestamps":["2026-06-01T11:30:00Z","2026-06-01T11:45:00.500Z","1970-01-01T00:00:00Z"]},"#,
        r#"{"values":[49,837,null],"statuses":["PRESENT","PRESENT","NOT_FOUND"],"#,
        r#""event_timestamps":["2026-06-01T11:30:00Z","2026-06-01T11:45:00.500Z","1970-01-01T00:00:00Z"]}],"#,
        r#""metadata":{"feature_names":["driver_id","conv_rate","trips"]}}"#,
    );
    assert_eq!((reply.status, reply.text().as_str()), (200, expected));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let server = with_two_drivers().await;
    let body = br#"{"features":["driver_stats:trips"],"entities":{"driver_id":[1001]}}"#;
    for headers in [
        "",
        "content-type: application/json\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: text/plain; charset=utf-8\r\n",
    ] {
        let reply = server
            .post_with("/get-online-features", headers, body)
            .await;
        assert_eq!(
            (reply.status, &reply.json()["results"][1]["values"]),
            (200, &json!([49])),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    use std::io::Write;
    let server = with_two_drivers().await;
    let body = br#"{"features":["driver_stats:trips"],"entities":{"driver_id":[1001]}}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body).unwrap();
    let gzip = gzip.finish().unwrap();
    let reply = server
        .post_with("/get-online-features", "content-encoding: gzip\r\n", &gzip)
        .await;
    assert_eq!(
        (reply.status, &reply.json()["results"][1]["values"]),
        (200, &json!([49]))
    );
    let broken = server
        .post_with(
            "/get-online-features",
            "content-encoding: gzip\r\n",
            &gzip[..20],
        )
        .await;
    assert_eq!(
        (broken.status, &broken.json()["detail"][0]["type"]),
        (400, &json!("unreadable"))
    );
    let unknown = server
        .post_with("/get-online-features", "content-encoding: br\r\n", body)
        .await;
    assert_eq!(
        (unknown.status, &unknown.json()["detail"][0]["type"]),
        (415, &json!("unsupported_encoding")),
        "an unknown coding is never taken as plain"
    );
}

#[tokio::test]
async fn names_are_full_and_views_are_listed_on_request() {
    let server = with_two_drivers().await;
    let answer = server
        .lookup(json!({"features": ["driver_stats:trips", "driver_profile:trips"], "entities": {"driver_id": [1001]},
            "full_feature_names": true, "include_feature_view_version_metadata": true}))
        .await;
    let expected = json!({"feature_names": ["driver_id", "driver_stats__trips", "driver_profile__trips"],
        "feature_view_metadata": [{"name": "driver_stats"}, {"name": "driver_profile"}]});
    assert_eq!(answer["metadata"], expected);
    assert_eq!(answer["results"][1]["values"], json!([49]));
    assert_eq!(answer["results"][2]["statuses"], json!(["NOT_FOUND"]));
}

#[tokio::test]
async fn a_feature_service_stands_for_its_features() {
    let server = with_two_drivers().await;
    let answer = server
        .lookup(json!({"feature_service": "driver_service", "entities": {"driver_id": [1002]}}))
        .await;
    assert_eq!(
        answer["metadata"]["feature_names"],
        json!(["driver_id", "photo", "conv_rate", "trips"])
    );
    let statuses: Vec<&Value> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["statuses"][0])
        .collect();
    assert_eq!(statuses, ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT"]);
}

#[tokio::test]
async fn composite_keys_and_every_dtype_come_back() {
    let server = Server::start().await;
    let df = json!({"origin": ["a", "a", "b"], "target": [1, 2, 1], "minutes": [0.1, "NaN", null], "open": [true, false, null],
        "note": ["", "\u{1f377}", null], "event_timestamp": [NOW, NOW, NOW], "unknown column": [1, 2, 3]});
    server.write("routes", df).await;
    // As text, since the answer repeats the order of the keys.
    let body = br#"{"features":["routes:note","routes:minutes","routes:open"],"entities":{"target":["1",2,1,3],"origin":["a","a","b","a"]}}"#;
    let answer = server.post("/get-online-features", body).await.json();
    let expected = json!({"results": [
        {"values": ["1", 2, 1, 3], "statuses": ["PRESENT", "PRESENT", "PRESENT", "PRESENT"], "event_timestamps": [EPOCH, EPOCH, EPOCH, EPOCH]},
        {"values": ["a", "a", "b", "a"], "statuses": ["PRESENT", "PRESENT", "PRESENT", "PRESENT"], "event_timestamps": [EPOCH, EPOCH, EPOCH, EPOCH]},
        {"values": ["", "\u{1f377}", null, null], "statuses": ["PRESENT", "PRESENT", "NULL_VALUE", "NOT_FOUND"], "event_timestamps": [NOW, NOW, NOW, EPOCH]},
        {"values": [0.1, "NaN", null, null], "statuses": ["PRESENT", "PRESENT", "NULL_VALUE", "NOT_FOUND"], "event_timestamps": [NOW, NOW, NOW, EPOCH]},
        {"values": [true, false, null, null], "statuses": ["PRESENT", "PRESENT", "NULL_VALUE", "NOT_FOUND"], "event_timestamps": [NOW, NOW, NOW, EPOCH]}],
        "metadata": {"feature_names": ["target", "origin", "note", "minutes", "open"]}});
    assert_eq!(
        answer, expected,
        "a number and its text are the same entity"
    );
}

#[tokio::test]
async fn a_lookup_of_no_entity_is_an_empty_table() {
    let server = Server::start().await;
    let answer = server
        .lookup(json!({"features": ["driver_stats:trips"], "entities": {"driver_id": []}}))
        .await;
    let empty = json!({"values": [], "statuses": [], "event_timestamps": []});
    assert_eq!(answer["results"], json!([empty, empty]));
}

#[tokio::test]
async fn unknown_names_are_exceptions_of_feast() {
    let server = Server::start().await;
    let entities = json!({"driver_id": [1]});
    for (path, body, status, class, message) in [
        (
            "/get-online-features",
            json!({"features": ["drivers:trips"], "entities": entities}),
            404,
            "FeatureViewNotFoundException",
            "Feature view drivers does not exist",
        ),
        (
            "/get-online-features",
            json!({"feature_service": "svc", "entities": entities}),
            404,
            "FeatureServiceNotFoundException",
            "Feature service svc does not exist",
        ),
        (
            "/get-online-features",
            json!({"features": ["driver_stats:trips"], "entities": {"driver_id": [1], "rider_id": [1]}}),
            404,
            "EntityNotFoundException",
            "Entity rider_id does not exist",
        ),
        (
            "/get-online-features",
            json!({"features": ["driver_stats:tips"], "entities": entities}),
            404,
            "FeastObjectNotFoundException",
            "Feature tips does not exist in feature view driver_stats",
        ),
        (
            "/get-online-features",
            json!({"features": ["driver_stats:trips", "driver_profile:trips"], "entities": entities}),
            422,
            "FeatureNameCollisionError",
            "Duplicate features named trips found; full_feature_names=true tells features of different views apart",
        ),
        (
            "/push",
            json!({"push_source_name": "nobody", "df": {}}),
            422,
            "PushSourceNotFoundException",
            "Unable to find push source 'nobody'",
        ),
        (
            "/write-to-online-store",
            json!({"feature_view_name": "drivers", "df": {}}),
            404,
            "FeatureViewNotFoundException",
            "Feature view drivers does not exist",
        ),
    ] {
        let reply = refused(&server, path, body).await;
        assert_eq!(
            (reply.status, reply.text()),
            (status, exception(class, message))
        );
    }
}

#[tokio::test]
async fn bodies_of_another_form_are_refused_with_the_place() {
    let server = Server::start().await;
    let lookup = "/get-online-features";
    let many: Vec<u32> = (0..1_001).collect();
    for (body, kind, loc) in [
        (
            json!({"entities": {"driver_id": [1]}}),
            "value_error",
            json!(["body"]),
        ),
        (
            json!({"features": [], "feature_service": "s", "entities": {}}),
            "value_error",
            json!(["body"]),
        ),
        (
            json!({"features": [], "entities": {}}),
            "too_short",
            json!(["body", "features"]),
        ),
        (
            json!({"features": ["trips"], "entities": {}}),
            "value_error",
            json!(["body", "features"]),
        ),
        (
            json!({"features": ["driver_stats:trips"]}),
            "value_error",
            json!(["body"]),
        ),
        (
            json!({"features": ["driver_stats:trips"], "entities": {}}),
            "missing",
            json!(["body", "entities", "driver_id"]),
        ),
        (
            json!({"features": ["routes:open"], "entities": {"origin": ["a"]}}),
            "missing",
            json!(["body", "entities", "target"]),
        ),
        (
            json!({"features": ["routes:open"], "entities": {"origin": ["a"], "target": []}}),
            "value_error",
            json!(["body", "entities", "target"]),
        ),
        (
            json!({"features": ["driver_stats:trips"], "entities": {"driver_id": [1, null]}}),
            "entity_type",
            json!(["body", "entities", "driver_id", "1"]),
        ),
        (
            json!({"features": ["driver_stats:trips"], "entities": {"driver_id": many}}),
            "too_long",
            json!(["body", "entities"]),
        ),
    ] {
        let reply = refused(&server, lookup, body.clone()).await;
        let detail = &reply.json()["detail"][0];
        assert_eq!(
            (reply.status, &detail["type"], &detail["loc"]),
            (422, &json!(kind), &loc),
            "{body}: {detail}"
        );
        assert!(!detail["msg"].as_str().unwrap().is_empty());
    }
    let reply = server.post(lookup, b"{").await;
    let expected = json!({"detail": [{"type": "json_invalid", "loc": ["body"], "msg": "EOF while parsing an object at line 1 column 1"}]});
    assert_eq!((reply.status, reply.json()), (422, expected));
}

#[tokio::test]
async fn a_thousand_entities_are_answered() {
    let server = with_two_drivers().await;
    let ids: Vec<u32> = (1_000..2_000).collect();
    for _ in 0..2 {
        let answer = server
            .lookup(json!({"features": ["driver_stats:trips"], "entities": {"driver_id": ids}}))
            .await;
        let values = answer["results"][1]["values"].as_array().unwrap();
        assert_eq!(
            (values.len(), &values[1], &values[2], &values[3]),
            (1_000, &json!(49), &json!(837), &Value::Null)
        );
    }
}

#[tokio::test]
async fn health_is_empty_and_paths_are_json() {
    let mut server = Server::start().await;
    let health = server.get("/health").await;
    assert_eq!(
        (
            health.status,
            health.text().as_str(),
            health.header("traceresponse")
        ),
        (200, "", None)
    );
    assert_eq!(server.get("/livez").await.status, 200);
    assert_eq!(server.get("/readyz").await.json()["ready"], json!(true));
    let nowhere = server.get("/search").await;
    assert_eq!(
        (nowhere.status, nowhere.text().as_str()),
        (404, r#"{"detail":"Not Found"}"#)
    );
    let method = server.get("/push").await;
    assert_eq!(
        (method.status, method.text().as_str()),
        (405, r#"{"detail":"Method Not Allowed"}"#)
    );
    assert_eq!(method.header("allow"), Some("POST"));
    server.stop().await;
}
