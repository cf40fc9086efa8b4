//! A flood of malformed requests: each is answered, none with a server error, and the services stay
//! up.

use anyhow::Result;
use http::StatusCode;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::system::System;

/// Bodies that are almost right, each for the path that expects it.
const ALMOST: [(&str, &str); 12] = [
    ("gateway", r#"{"model":"wine_quality","data_ids":[]}"#),
    (
        "gateway",
        r#"{"model":"wine_quality","data_ids":"wine-0001"}"#,
    ),
    (
        "gateway",
        r#"{"model":"../../etc/passwd","data_ids":["wine-0001"]}"#,
    ),
    (
        "gateway",
        r#"{"model":"wine_quality","data_ids":["\u0000"]}"#,
    ),
    (
        "model",
        r#"{"inputs":[{"name":"features","shape":[1,11],"datatype":"FP32","data":[1]}]}"#,
    ),
    (
        "model",
        r#"{"inputs":[{"name":"features","shape":[18446744073709551615,11],"datatype":"FP32","data":[]}]}"#,
    ),
    (
        "model",
        r#"{"inputs":[{"name":"features","shape":[-1,11],"datatype":"FP32","data":[]}]}"#,
    ),
    (
        "model",
        r#"{"inputs":[{"name":"data_id","shape":[1],"datatype":"BYTES","data":[7]}]}"#,
    ),
    (
        "model",
        r#"{"inputs":[{"name":"nothing","shape":[1],"datatype":"FP99","data":[7]}]}"#,
    ),
    (
        "features",
        r#"{"features":["wine_features:alcohol"],"entities":{"wine_id":[{}]}}"#,
    ),
    (
        "features",
        r#"{"features":["no_view:alcohol"],"entities":{"wine_id":["wine-0001"]}}"#,
    ),
    ("features", r#"{"features":[],"entities":{}}"#),
];

#[test]
fn malformed_bodies_are_the_clients_error_everywhere() -> Result<()> {
    let system = System::start()?;
    let url = |part: &str| match part {
        "gateway" => format!("{}/v1/predictions", system.urls.gateway),
        "model" => format!("{}/v2/models/wine_quality/infer", system.urls.model_service),
        _ => format!("{}/get-online-features", system.urls.feature_store),
    };
    for (part, body) in ALMOST {
        let answer = system.post(&url(part), body, &[])?;
        assert!(
            answer.status.is_client_error(),
            "{part} answers {} to {body}: {}",
            answer.status,
            answer.body
        );
        assert!(
            !answer.body.is_null(),
            "{part} answers {body} without a JSON body"
        );
    }
    // A fixed seed gives the same bytes in every run, so that a failure can be reproduced.
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let bytes = proptest::collection::vec(any::<u8>(), 0..400);
    for round in 0..150 {
        let body = bytes
            .new_tree(&mut runner)
            .expect("bytes can be made")
            .current();
        for part in ["gateway", "model", "features"] {
            let length = (round * 7 % 50).to_string();
            let answer = system.post(
                &url(part),
                body.clone(),
                &[("inference-header-content-length", &length)],
            )?;
            assert!(
                answer.status.is_client_error(),
                "{part} answers {} to {body:?}",
                answer.status
            );
        }
    }
    let after = system.predict(&["wine-0001"])?;
    assert_eq!(
        after.status,
        StatusCode::OK,
        "the services live on: {}",
        after.body
    );
    Ok(())
}

#[test]
fn too_much_is_refused_with_its_own_status() -> Result<()> {
    let system = System::start()?;
    let many: Vec<String> = (0..1001).map(|id| format!("wine-{id}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        system.predict(&many)?.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let large = vec![b' '; (1 << 20) + 1];
    for url in [
        format!("{}/v1/predictions", system.urls.gateway),
        format!("{}/v2/models/wine_quality/infer", system.urls.model_service),
        format!("{}/get-online-features", system.urls.feature_store),
    ] {
        assert_eq!(
            system.post(&url, large.clone(), &[])?.status,
            StatusCode::PAYLOAD_TOO_LARGE,
            "{url}"
        );
    }
    assert_eq!(
        system
            .get(&format!(
                "{}/v1/predictions/no_such_model/wine-0001",
                system.urls.gateway
            ))?
            .status,
        StatusCode::NOT_FOUND
    );
    Ok(())
}
