//! A storage that is damaged while it is used: what `/readyz` and the answers say.

use serde_json::{Value, json};

use crate::server::{NOW, Server, VIEWS};

async fn detail(server: &Server) -> Value {
    let reply = server.get("/readyz").await;
    assert_eq!(reply.status, 200, "degraded is still ready");
    reply.json()["detail"]["feature_storage"].clone()
}

async fn write(server: &Server, driver: &str) -> u16 {
    let df =
        json!({"driver_id": [driver], "conv_rate": [0.5], "trips": [3], "event_timestamp": [NOW]});
    let body = json!({"feature_view_name": "driver_stats", "df": df}).to_string();
    let reply = server.post("/write-to-online-store", body.as_bytes()).await;
    reply.status
}

async fn look_up(server: &Server, drivers: Value) -> (u16, Value) {
    let body = json!({"features": ["driver_stats:conv_rate", "driver_stats:trips"], "entities": {"driver_id": drivers}});
    let reply = server
        .post("/get-online-features", body.to_string().as_bytes())
        .await;
    (reply.status, reply.json())
}

fn change(server: &Server, statements: &str) {
    rusqlite::Connection::open(server.database())
        .and_then(|connection| connection.execute_batch(statements))
        .expect("the file is writable");
}

#[tokio::test]
async fn a_table_that_loses_a_column_is_named_until_it_has_it_again() {
    let server = Server::start_with(&["--cache-capacity", "0"]).await;
    assert_eq!(write(&server, "7").await, 200);
    assert_eq!(detail(&server).await, Value::Null);
    change(
        &server,
        "ALTER TABLE driver_stats RENAME COLUMN trips TO journeys",
    );
    assert_eq!(look_up(&server, json!([7])).await.0, 500);
    assert_eq!(write(&server, "8").await, 500);
    let said = detail(&server).await.to_string();
    for part in ["driver_stats", "read features", "write features", "trips"] {
        assert!(said.contains(part), "{said}");
    }
    change(
        &server,
        "ALTER TABLE driver_stats RENAME COLUMN journeys TO trips",
    );
    assert_eq!(look_up(&server, json!([7])).await.0, 200);
    let said = detail(&server).await.to_string();
    assert!(
        !said.contains("read features") && said.contains("write features"),
        "only what works again is removed: {said}"
    );
    assert_eq!(write(&server, "8").await, 200);
    assert_eq!(detail(&server).await, Value::Null);
}

#[tokio::test]
async fn a_table_of_another_type_is_named_at_the_start() {
    let mut server = Server::start().await;
    let views = VIEWS.replace(
        r#"{ name = "trips", dtype = "int64" }"#,
        r#"{ name = "trips", dtype = "string" }"#,
    );
    server.restart_with(&views).await;
    assert_eq!(
        detail(&server).await,
        json!(
            "driver_stats: SQLITE_MISMATCH: cannot use the table: the column trips of the table driver_stats is \"INTEGER\" and not TEXT"
        )
    );
}

#[tokio::test]
async fn one_damaged_value_is_invalid_and_the_others_are_answered() {
    let server = Server::start().await;
    for driver in ["7", "8"] {
        assert_eq!(write(&server, driver).await, 200);
    }
    change(
        &server,
        "UPDATE driver_stats SET trips = x'00' WHERE __entity_key = '7'",
    );
    for _ in 0..2 {
        let (status, answer) = look_up(&server, json!([7, 8])).await;
        assert_eq!(status, 200);
        let [rate, trips] = [1, 2].map(|at| answer["results"][at].clone());
        assert_eq!(rate["values"], json!([0.5, 0.5]));
        assert_eq!(rate["statuses"], json!(["PRESENT", "PRESENT"]));
        assert_eq!(trips["values"], json!([null, 3]));
        assert_eq!(trips["statuses"], json!(["INVALID", "PRESENT"]));
    }
    let said = detail(&server).await.to_string();
    assert!(
        said.contains("what is stored for trips is not a int64"),
        "{said}"
    );
    change(
        &server,
        "UPDATE driver_stats SET trips = 5 WHERE __entity_key = '7'",
    );
    let (_, answer) = look_up(&server, json!([7])).await;
    assert_eq!(
        answer["results"][2]["values"],
        json!([5]),
        "a damaged row is not cached"
    );
    assert_eq!(detail(&server).await, Value::Null);
}
