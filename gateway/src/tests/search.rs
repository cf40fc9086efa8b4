//! `GET /v1/predictions`: filters, order, pages, and invalid parameters.

use serde_json::Value;

use super::harness::Gateway;

#[tokio::test]
async fn filters_narrow_and_the_newest_comes_first() {
    let gateway = Gateway::start().await;
    for id in ["a", "b", "c"] {
        gateway.predict(&[id]).await;
        gateway.pass(10);
    }
    let cases = [
        ("", "c b a"),
        (
            "?model=wine_quality&label=high&variant=primary&min_confidence=0.75",
            "c b a",
        ),
        (
            "?model=&label=&variant=&min_confidence=&since=&limit=&cursor=",
            "c b a",
        ),
        ("?model=nobody", ""),
        ("?label=low", ""),
        ("?variant=canary", ""),
        ("?min_confidence=0.76", ""),
        ("?since=2026-01-31T12:00:10Z", "c b"),
        ("?since=2026-01-31T13:00:20%2B01:00", "c"),
        ("?limit=2", "c b"),
    ];
    for (query, expected) in cases {
        let reply = gateway.get(&format!("/v1/predictions{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {:?}", reply.body);
        let ids: Vec<String> = reply
            .each("data_id")
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.join(" "), expected, "{query}");
        assert!(reply.each("cached").iter().all(|cached| *cached == true));
    }
}

#[tokio::test]
async fn pages_follow_by_cursor() {
    let gateway = Gateway::start().await;
    let ids: Vec<String> = (0..25).map(|n| format!("id-{n:02}")).collect();
    gateway
        .predict(&ids.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let (mut seen, mut query) = (Vec::new(), "limit=10".to_owned());
    let mut sizes = Vec::new();
    loop {
        let reply = gateway.get(&format!("/v1/predictions?{query}")).await;
        sizes.push(reply.each("data_id").len());
        seen.extend(
            reply
                .each("data_id")
                .into_iter()
                .map(|id| id.as_str().unwrap().to_owned()),
        );
        match &reply.json()["next_cursor"] {
            Value::String(cursor) => query = format!("limit=10&cursor={cursor}"),
            _ => break,
        }
        assert!(sizes.len() < 5);
    }
    assert_eq!((seen, sizes), (ids, vec![10, 10, 5]));
}

#[tokio::test]
async fn invalid_parameters_are_422() {
    let gateway = Gateway::start().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "min_confidence=1.1",
        "min_confidence=-0.1",
        "min_confidence=NaN",
        "since=yesterday",
        "cursor=xyz",
        "cursor=abc",
        "cursor=00",
        "cursor=5b5d",
        "colour=red",
        "model=a&model=b",
    ] {
        assert_eq!(
            gateway
                .get(&format!("/v1/predictions?{query}"))
                .await
                .problem(422),
            "invalid_request",
            "{query}"
        );
    }
}
