//! `/v2`: bytes, headers and statuses pass unchanged.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::fake::Behaviour;
use super::harness::Gateway;

/// Path, headers and body.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    Vec<u8>,
);

#[tokio::test]
async fn bytes_and_the_headers_that_describe_them_pass_unchanged() {
    let gateway = Gateway::start().await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(b"{\"inputs\":[]}").unwrap();
    let binary: Vec<u8> = (0..=255).chain(0..=255).collect();
    let cases: [Case; 4] = [
        (
            "/v2/models/echo/infer",
            &[
                ("content-type", "application/octet-stream"),
                ("inference-header-content-length", "17"),
            ],
            binary.clone(),
        ),
        (
            "/v2/models/echo/infer",
            &[],
            b"{ \"spaces\" : [ 1.0 ] }\n".to_vec(),
        ),
        (
            "/v2/models/echo/versions/3/infer",
            &[
                ("content-encoding", "deflate"),
                ("content-type", "weird/type; x=1"),
            ],
            binary,
        ),
        ("/v2/models/echo/infer?a=b%20c", &[], Vec::new()),
    ];
    for (path, headers, body) in cases {
        let reply = gateway.post(path, headers, body.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (200, &body[..]),
            "{path}"
        );
        for name in [
            "content-type",
            "content-encoding",
            "inference-header-content-length",
        ] {
            let sent = headers
                .iter()
                .find(|(header, _)| *header == name)
                .map_or("", |(_, value)| value);
            assert_eq!(reply.header(name), sent, "{path} {name}");
        }
        assert_eq!(
            reply.header("server-timing"),
            format!("POST;desc=\"{path}\"")
        );
    }
}

#[tokio::test]
async fn every_read_arrives_at_its_own_path() {
    let gateway = Gateway::start().await;
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/stats",
        "/v2/models/wine_quality/config",
        "/v2/models/wine_quality/stats",
        "/v2/models/wine_quality/versions/1",
        "/v2/models/wine_quality/versions/1/ready",
        "/v2/models/wine_quality/versions/1/config",
    ] {
        let reply = gateway.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["uri"].as_str()),
            (200, Some(path))
        );
    }
    assert_eq!(
        gateway.get("/v2/").await.json()["uri"],
        "/v2",
        "which servers redirect to"
    );
    for path in [
        "/v2/models/wine_quality/versions//ready",
        "/v2/models/wine_quality/versions//config",
    ] {
        let reply = gateway.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["uri"].as_str()),
            (200, Some(path)),
            "an empty version means no version"
        );
    }
    let index = gateway.post("/v2/repository/index", &[], "{}").await;
    assert_eq!(
        (
            index.status.as_u16(),
            index.json()["method"].as_str().unwrap().to_owned()
        ),
        (200, "POST".to_owned())
    );
    assert_eq!(
        gateway.get("/v2/models/wine_quality").await.json()["inputs"][0]["name"],
        "data_id"
    );
}

#[tokio::test]
async fn statuses_and_errors_of_the_service_pass_unchanged() {
    let gateway = Gateway::start().await;
    let reply = gateway.get("/v2/models/unknown").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (404, "application/json")
    );
    assert_eq!(reply.json()["error"], "unknown model");
    gateway.fake.behave(Behaviour::Refuse {
        status: 429,
        body: "{\"error\":\"full\"}",
        retry_after: Some("9"),
    });
    let body = r#"{"inputs":[{"name":"data_id","shape":[1],"datatype":"BYTES","data":["a"]}]}"#;
    let reply = gateway
        .post("/v2/models/wine_quality/infer", &[], body)
        .await;
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.header("retry-after"),
            &reply.body[..]
        ),
        (429, "9", &b"{\"error\":\"full\"}"[..])
    );
}

#[tokio::test]
async fn errors_of_the_gateway_have_the_form_of_the_protocol() {
    let mut gateway = Gateway::start().await;
    let cases = [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/..%2F..%2Fsecret/ready", 404),
        ("GET", "/v2/models/%2e%2e/ready", 404),
        ("GET", "/v2/models/wine_quality/versions/%2e%2e", 404),
        ("POST", "/v2/models/wine_quality", 405),
        ("GET", "/v2/models/wine_quality/infer", 405),
    ];
    for (method, path, status) in cases {
        let reply = gateway
            .send(gateway.request(method, path, &[], bytes::Bytes::new()))
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (status, "application/json"),
            "{method} {path}"
        );
        assert!(reply.json()["error"].is_string(), "{method} {path}");
    }
    let large = gateway
        .post("/v2/models/echo/infer", &[], vec![b'x'; (1 << 20) + 1])
        .await;
    assert_eq!(
        (
            large.status.as_u16(),
            large.json()["code"].as_str().unwrap().to_owned()
        ),
        (413, "too_large".to_owned())
    );
    assert_eq!(
        gateway
            .post("/v2/models/echo/infer", &[], vec![b'x'; 1 << 20])
            .await
            .status,
        200
    );
    gateway.fake.stop().await;
    let reply = gateway.get("/v2/health/ready").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("retry-after")),
        (503, "1")
    );
    assert_eq!(reply.json()["code"], "model_unavailable");
}
