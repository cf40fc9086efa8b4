//! The routes file changes while requests are answered.

use super::super::harness::Reply;
use super::{Options, VariantGateway, ids, refs};

/// Whether one variant answered for everything.
fn is_all_from(reply: &Reply, variant: &str) -> bool {
    reply.each("variant").iter().all(|name| name == variant)
}

#[tokio::test]
async fn weights_change_without_a_restart() {
    let split =
        VariantGateway::start(&[("primary", "100"), ("canary", "0")], Options::default()).await;
    let ids = ids(30);
    let reply = split.gateway.predict(&refs(&ids)).await;
    assert!(is_all_from(&reply, "primary"));
    assert_eq!(
        split
            .predict(&["id-1"], "ml.variant=canary")
            .await
            .each("variant"),
        ["canary"],
        "a variant of weight 0 answers by name"
    );
    split.change(&[("primary", "0"), ("canary", "1")]);
    let moved = async || split.variant("canary").await["weight"] == 1;
    split.gateway.eventually("the new weights", moved).await;
    let reply = split.gateway.predict(&refs(&ids)).await;
    assert!(is_all_from(&reply, "canary"));

    std::fs::write(&split.file, "[models.wine_quality]\nvariants = 3").unwrap();
    let refused =
        async || split.gateway.get("/readyz").await.json()["detail"]["routes"].is_string();
    split
        .gateway
        .eventually("readyz shows the error", refused)
        .await;
    let ready = split.gateway.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready.json()["detail"]["routes"]
            .as_str()
            .unwrap()
            .contains("line 2")
    );
    assert_eq!(
        split.gateway.predict(&["id-1"]).await.each("variant"),
        ["canary"],
        "the previous routes stay in force"
    );
    split.change(&[("primary", "1"), ("canary", "0")]);
    let well = async || split.gateway.get("/readyz").await.json()["detail"]["routes"].is_null();
    split
        .gateway
        .eventually("readyz is clear again", well)
        .await;
    split
        .gateway
        .eventually("the old weights are back", async || {
            split.gateway.predict(&["id-1"]).await.each("variant") == ["primary"]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_while_routes_change() {
    let split = VariantGateway::halves().await;
    let (ids, changes) = (
        ids(20),
        [("90", "10"), ("0", "100"), ("100", "0"), ("50", "50")],
    );
    let asking = async {
        for _ in 0..60 {
            let reply = split.predict(&refs(&ids), "").await;
            assert_eq!(
                (reply.status.as_u16(), reply.each("data_id").len()),
                (200, 20)
            );
            for (variant, label) in reply.each("variant").iter().zip(reply.each("label")) {
                assert_eq!(
                    label,
                    if variant == "primary" { "high" } else { "low" },
                    "the label is that of the variant"
                );
            }
        }
    };
    let changing = async {
        for (primary, canary) in changes {
            split.change(&[("primary", primary), ("canary", canary)]);
            let weight: u64 = primary.parse().unwrap();
            split
                .gateway
                .eventually(primary, async || {
                    split.variant("primary").await["weight"] == weight
                })
                .await;
        }
    };
    tokio::join!(asking, changing);
}
