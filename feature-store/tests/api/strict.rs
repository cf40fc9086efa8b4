//! Bodies that two JSON readers read differently, and the values at the ends of the types.

use serde_json::{Value, json};

use crate::server::{NOW, Server};

const MARK: &str = "@";

/// A write of driver 7 whose `conv_rate` is this JSON text.
fn write(rate: &str) -> String {
    format!(
        r#"{{"feature_view_name":"driver_stats","df":{{"driver_id":[7],"conv_rate":[{rate}],"trips":[1],"event_timestamp":["{NOW}"]}}}}"#
    )
}

async fn rate(server: &Server) -> (Value, Value) {
    let request = json!({"features": ["driver_stats:conv_rate"], "entities": {"driver_id": [7]}});
    let column = server.lookup(request).await["results"][1].clone();
    (column["values"][0].clone(), column["statuses"][0].clone())
}

#[tokio::test]
async fn a_body_with_more_than_one_reading_is_refused_wherever_it_has_it() {
    let server = Server::start().await;
    let places = [
        (
            "/get-online-features",
            r#"{"features":["driver_stats:trips"],"entities":{"driver_id":[7]},"registry":@}"#,
        ),
        (
            "/get-online-features",
            r#"{"features":["driver_stats:trips"],"entities":{"driver_id":[@]}}"#,
        ),
        (
            "/push",
            r#"{"push_source_name":"driver_push","df":{"driver_id":[7],"unused":[@]}}"#,
        ),
        (
            "/write-to-online-store",
            r#"{"feature_view_name":"driver_stats","df":{},"unused":{"deep":[[@]]}}"#,
        ),
    ];
    for value in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#""\ud800""#,
        r#""\udfff x""#,
        "1e400",
        "-1e400",
        "nan",
        "01",
    ] {
        for (path, body) in places {
            let body = body.replace(MARK, value);
            let reply = server.post(path, body.as_bytes()).await;
            let kind = reply.json()["detail"][0]["type"].clone();
            assert!(
                reply.status == 422 && (kind == "json_invalid" || kind == "value_error"),
                "{path} {body}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    for body in [
        r#"{"features":["driver_stats:trips"],"features":["driver_stats:trips"],"entities":{"driver_id":[7]}}"#,
        r#"{"features":["driver_stats:trips"],"entities":{"driver_id":[7]},"x":1,"x":1}"#,
        r#"{"features":["driver_stats:trips"],"entities":{"driver_id":[7],"driver_id":[8]}}"#,
    ] {
        let reply = server.post("/get-online-features", body.as_bytes()).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.text());
        assert!(reply.text().contains("given twice"), "{}", reply.text());
    }
    let deep = format!(
        r#"{{"features":["driver_stats:trips"],"entities":{{"driver_id":[7]}},"x":{}{}}}"#,
        "[".repeat(400_000),
        "]".repeat(400_000)
    );
    let reply = server.post("/get-online-features", deep.as_bytes()).await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn values_at_the_ends_come_back_as_they_were() {
    let server = Server::start().await;
    for (sent, expected, status) in [
        ("3.4028235e38", json!(3.402_823_5e38), "PRESENT"),
        ("1.7976931348623157e308", json!(f64::MAX), "PRESENT"),
        ("-1.7976931348623157e308", json!(f64::MIN), "PRESENT"),
        ("5e-324", json!(5e-324), "PRESENT"),
        ("\"NaN\"", json!("NaN"), "PRESENT"),
        ("\"-Infinity\"", json!("-Infinity"), "PRESENT"),
        // What Python's json.dumps writes, as Feast's remote client sends it.
        ("NaN", Value::Null, "NULL_VALUE"),
        ("Infinity", json!("Infinity"), "PRESENT"),
        ("-Infinity", json!("-Infinity"), "PRESENT"),
        (
            "18446744073709551616",
            json!(18_446_744_073_709_551_616_f64),
            "PRESENT",
        ),
    ] {
        let reply = server
            .post("/write-to-online-store", write(sent).as_bytes())
            .await;
        assert_eq!(reply.status, 200, "{sent}: {}", reply.text());
        assert_eq!(rate(&server).await, (expected, json!(status)), "{sent}");
    }
}

#[tokio::test]
async fn a_push_is_stored_whole_or_not_at_all() {
    let server = Server::start().await;
    let body = json!({"feature_view_name": "driver_stats", "df": {"driver_id": [7, 8], "conv_rate": [0.5, 0.5],
        "trips": [1, 1.5], "event_timestamp": [NOW, NOW]}});
    let reply = server
        .post("/write-to-online-store", body.to_string().as_bytes())
        .await;
    assert_eq!(
        (reply.status, &reply.json()["detail"][0]["loc"]),
        (422, &json!(["body", "df", "trips", "1"]))
    );
    assert_eq!(rate(&server).await.1, json!("NOT_FOUND"));
}
