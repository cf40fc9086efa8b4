//! `/v2` with several variants: a whole call goes to one of them, unchanged.

use std::collections::BTreeSet;

use protocol::oip::{InferRequest, Tensor, TensorFormat};
use serde_json::json;

use super::super::fake::Behaviour;
use super::{Options, VariantGateway};

const INFER: &str = "/v2/models/wine_quality/infer";

fn body(id: &str) -> String {
    json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": [id]}]})
        .to_string()
}

/// The label of the answer, which is different for each variant.
async fn label(
    split: &VariantGateway,
    body: impl Into<bytes::Bytes>,
    headers: &[(&str, &str)],
) -> String {
    let reply = split.gateway.post(INFER, headers, body).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let outputs = reply.json()["outputs"].clone();
    outputs
        .as_array()
        .unwrap()
        .iter()
        .find(|output| output["name"] == "label")
        .unwrap()["data"][0]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_id_has_the_same_variant_in_v1_and_v2() {
    let split = VariantGateway::halves().await;
    let mut seen = BTreeSet::new();
    for n in 0..20 {
        let id = format!("id-{n}");
        let expected = split.gateway.predict(&[&id]).await.each("label")[0]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(label(&split, body(&id), &[]).await, expected, "{id}");
        // Binary, as tritonclient sends it.
        let request = InferRequest::new([Tensor::from_texts("data_id", [id.as_str()])]);
        let encoded = request.encode(TensorFormat::Binary).unwrap();
        let length = encoded.header_length.unwrap().to_string();
        let echo = split
            .gateway
            .post(
                "/v2/models/echo/infer",
                &[("inference-header-content-length", &length)],
                encoded.body.clone(),
            )
            .await;
        assert_eq!(echo.body, encoded.body);
        seen.insert(expected);
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_named_variant_and_a_user_come_before_the_id() {
    let split = VariantGateway::halves().await;
    for n in 0..6 {
        let user = format!("user.id=user-{n}");
        let first = label(&split, body("id-0"), &[("baggage", &user)]).await;
        for id in ["id-1", "id-2", "id-3"] {
            assert_eq!(label(&split, body(id), &[("baggage", &user)]).await, first);
        }
    }
    for (name, expected) in [("primary", "high"), ("canary", "low")] {
        let forced = format!("ml.variant={name}");
        for n in 0..4 {
            assert_eq!(
                label(&split, body(&format!("id-{n}")), &[("baggage", &forced)]).await,
                expected
            );
        }
    }
    for path in [INFER, "/v2/models/wine_quality/versions/1/infer"] {
        let reply = split
            .gateway
            .post(path, &[("baggage", "ml.variant=nobody")], body("a"))
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].clone()),
            (400, json!("unknown_variant")),
            "{path}"
        );
    }
    let health = async |name: &str| {
        split
            .gateway
            .get_with(
                "/v2/health/ready",
                &[("baggage", &format!("ml.variant={name}"))],
            )
            .await
    };
    let reply = health("nobody").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["error"].clone()),
        (400, json!("there is no variant `nobody` that answers"))
    );
    split
        .canary()
        .answer_read("/v2/health/ready", 200, "canary");
    assert_eq!(&health("canary").await.body[..], b"canary");
}

#[tokio::test]
async fn a_service_that_only_the_routes_file_has_answers_by_name() {
    let other = super::super::fake::Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.toml");
    let variant = |name: &str, how: &str| {
        format!(
            "[[models.wine_quality.variants]]\nname = \"{name}\"\nurl = \"http://{}\"\n{how}\n",
            other.address
        )
    };
    let text = format!(
        "{}{}",
        variant("kserve", "weight = 1"),
        variant("beside", "mode = \"shadow\"")
    );
    std::fs::write(&file, text).unwrap();
    other.answer_read("/v2/health/ready", 200, "kserve");
    let gateway = super::Gateway::with(super::Setup {
        routes: Some(file),
        ..super::Setup::default()
    })
    .await;
    let health = async |baggage: &str| {
        gateway
            .get_with("/v2/health/ready", &[("baggage", baggage)])
            .await
    };
    assert_eq!(&health("ml.variant=kserve").await.body[..], b"kserve");
    assert_ne!(&health("").await.body[..], b"kserve");
    assert_eq!(
        health("ml.variant=beside").await.status,
        400,
        "a shadow never answers"
    );
}

#[tokio::test]
async fn a_call_without_an_id_is_split_by_its_trace() {
    let split = VariantGateway::halves().await;
    let mut counts = [0, 0];
    for n in 0..40 {
        let trace = format!("00-{:032x}-b7ad6b7169203331-01", n + 1);
        let seen = async || {
            [
                split.gateway.fake.shared.echoed.lock().unwrap().len(),
                split.canary().shared.echoed.lock().unwrap().len(),
            ]
        };
        let before = seen().await;
        for _ in 0..2 {
            let reply = split
                .gateway
                .post(
                    "/v2/models/echo/infer",
                    &[("traceparent", &trace)],
                    vec![0, 255, 1],
                )
                .await;
            assert_eq!(&reply.body[..], [0, 255, 1]);
        }
        let after = seen().await;
        let grown = [after[0] - before[0], after[1] - before[1]];
        assert!(
            grown == [2, 0] || grown == [0, 2],
            "one trace has one variant: {grown:?}"
        );
        counts[usize::from(grown[1] == 2)] += 1;
    }
    assert!(counts[0] > 5 && counts[1] > 5, "{counts:?}");
}

#[tokio::test]
async fn reads_go_to_the_first_variant_or_the_named_one() {
    let split = VariantGateway::halves().await;
    split.canary().set_version("7");
    let versions = async |headers: &[(&str, &str)]| {
        split
            .gateway
            .get_with("/v2/models/wine_quality", headers)
            .await
            .json()["versions"]
            .clone()
    };
    for _ in 0..8 {
        assert_eq!(versions(&[]).await, json!(["1"]));
    }
    assert_eq!(
        versions(&[("baggage", "ml.variant=canary")]).await,
        json!(["7"])
    );
    // A call for a version goes to the only variant that has it.
    split
        .gateway
        .eventually("version 7 is known", async || {
            split.variant("canary").await["version"] == "7"
        })
        .await;
    split.canary().answer_read(
        "/v2/models/wine_quality/versions/7",
        200,
        r#"{"by":"canary"}"#,
    );
    assert_eq!(
        split
            .gateway
            .get("/v2/models/wine_quality/versions/7")
            .await
            .json(),
        json!({"by": "canary"})
    );
    split.canary().answer_read(
        "/v2/models/wine_quality/versions/7/infer",
        200,
        r#"{"by":"canary"}"#,
    );
    for n in 0..8 {
        let reply = split
            .gateway
            .post(
                "/v2/models/wine_quality/versions/7/infer",
                &[],
                body(&n.to_string()),
            )
            .await;
        assert_eq!(reply.json(), json!({"by": "canary"}));
    }
}

#[tokio::test]
async fn a_shadow_gets_the_same_bytes_and_delays_no_answer() {
    let split = VariantGateway::start(
        &[("primary", "1"), ("kserve", "shadow")],
        Options::default(),
    )
    .await;
    split.others[0].close_gate();
    for n in 0..3_u8 {
        assert_eq!(
            &split
                .gateway
                .post("/v2/models/echo/infer", &[], vec![n, 255])
                .await
                .body[..],
            [n, 255]
        );
    }
    let arrived = async || split.others[0].shared.echoed.lock().unwrap().len() == 3;
    split
        .gateway
        .eventually("the shadow was called", arrived)
        .await;
    assert!(
        split.others[0]
            .shared
            .echoed
            .lock()
            .unwrap()
            .contains(&bytes::Bytes::from_static(&[2, 255]))
    );
    split
        .gateway
        .post("/v2/models/wine_quality/versions/1/infer", &[], "x")
        .await;
    split.gateway.get("/v2/models/wine_quality").await;
    assert_eq!(
        split.others[0].calls().len(),
        0,
        "reads and calls of a version have no shadow"
    );
    split.others[0].open_gate();
    split.gateway.post(INFER, &[], body("a")).await;
    let counted = async || split.variant("kserve").await["statistics"]["calls"] == 1;
    split.gateway.eventually("it is counted", counted).await;
    assert_eq!(split.variant("primary").await["statistics"]["calls"], 2);
}

#[tokio::test]
async fn pass_through_calls_fail_over() {
    let variants = [("primary", "1"), ("canary", "1")];
    let mut split = VariantGateway::start(
        &variants,
        Options {
            fail_over: true,
            ..Options::default()
        },
    )
    .await;
    split.canary().behave(Behaviour::Refuse {
        status: 503,
        body: "{\"error\":\"busy\"}",
        retry_after: None,
    });
    for n in 0..10 {
        assert_eq!(label(&split, body(&format!("id-{n}")), &[]).await, "high");
    }
    assert!(!split.canary().calls().is_empty());
    split.others[0].stop().await;
    for n in 0..10 {
        assert_eq!(label(&split, body(&format!("id-{n}")), &[]).await, "high");
    }
    let reply = split
        .gateway
        .post(INFER, &[("baggage", "ml.variant=canary")], body("a"))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["code"].clone()),
        (503, json!("model_unavailable"))
    );
    // The other model of the file has no fail-over, so its failures pass unchanged.
    let answered: BTreeSet<u16> = futures_util::future::join_all((0..20).map(|n: u32| {
        let trace = format!("00-{:032x}-b7ad6b7169203331-01", n + 1);
        let split = &split;
        async move {
            split
                .gateway
                .post("/v2/models/echo/infer", &[("traceparent", &trace)], "x")
                .await
                .status
                .as_u16()
        }
    }))
    .await
    .into_iter()
    .collect();
    assert_eq!(answered, BTreeSet::from([200, 503]));
}

#[tokio::test]
async fn a_malformed_body_passes_unchanged() {
    let split = VariantGateway::halves().await;
    for text in [
        "\"data_id\"",
        "{\"inputs\":[{\"name\":\"data_id\"}]}",
        "{\"inputs\":[\"data_id\"",
        "",
    ] {
        let reply = split.gateway.post("/v2/models/echo/infer", &[], text).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (200, text.as_bytes())
        );
        let reply = split
            .gateway
            .post(
                "/v2/models/echo/infer",
                &[("inference-header-content-length", "9")],
                text,
            )
            .await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (200, text.as_bytes())
        );
    }
}
