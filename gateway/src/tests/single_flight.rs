//! Single flight: one call for concurrent requests of one key, even when the client of the first
//! request leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fake::Behaviour;
use super::harness::{Gateway, Reply};
use crate::single_flight::{Role, SingleFlight};
use crate::store::Key;

/// Sends the second request while the call of the first one is under way; the calls go on when
/// `arrived` says that the second request has come as far as it can.
async fn overlapping(
    gateway: &Gateway,
    first: impl Future<Output = Reply>,
    second: impl Future<Output = Reply>,
    arrived: impl Future<Output = ()>,
) -> (Reply, Reply) {
    gateway.fake.close_gate();
    let second = async {
        gateway.until_called(1).await;
        second.await
    };
    let (first, second, ()) = tokio::join!(first, second, async {
        arrived.await;
        gateway.fake.open_gate();
    });
    (first, second)
}

#[tokio::test]
async fn concurrent_misses_make_one_call() {
    let gateway = Gateway::start().await;
    gateway.fake.close_gate();
    let requests = join_all((0..20).map(|_| gateway.predict(&["a"])));
    let (replies, ()) = tokio::join!(requests, async {
        gateway
            .eventually("the call arrived", async || {
                !gateway.fake.calls().is_empty()
            })
            .await;
        gateway.fake.open_gate();
    });
    assert_eq!(gateway.fake.calls().len(), 1);
    let mut statuses: Vec<&str> = replies.iter().map(Reply::cache_status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert!(
        statuses.contains(&"throughline; fwd=miss; stored"),
        "{statuses:?}"
    );
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(gateway.store.writes.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_cache_status_of_a_waiter_says_collapsed() {
    let gateway = Gateway::start().await;
    let (first, second) = overlapping(
        &gateway,
        gateway.predict(&["a", "b"]),
        gateway.predict(&["b"]),
        gateway.until_looked_up(2),
    )
    .await;
    assert_eq!(first.cache_status(), "throughline; fwd=miss; stored");
    // The lookup found nothing, since nothing was stored before the gate opened.
    assert_eq!(
        second.cache_status(),
        "throughline; fwd=miss; collapsed; stored"
    );
    assert_eq!(second.each("data_id"), ["b"]);
}

#[tokio::test]
async fn overlapping_batches_share_the_call_for_their_common_part() {
    let gateway = Gateway::start().await;
    let (first, second) = overlapping(
        &gateway,
        gateway.predict(&["a", "b"]),
        gateway.predict(&["c", "b"]),
        gateway.until_called(2),
    )
    .await;
    assert_eq!(
        (first.each("data_id"), second.each("data_id")),
        (vec!["a".into(), "b".into()], vec!["c".into(), "b".into()])
    );
    assert_eq!(gateway.fake.calls()[1].values, ["c"]);
}

#[tokio::test]
async fn a_call_goes_on_when_its_client_leaves() {
    let gateway = Gateway::start().await;
    gateway.fake.close_gate();
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut leaving = TcpStream::connect(address).await.unwrap();
    let body = r#"{"model":"wine_quality","data_ids":["a"]}"#;
    let request = format!(
        "POST /v1/predictions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    leaving.write_all(request.as_bytes()).await.unwrap();
    gateway.until_called(1).await;
    leaving.shutdown().await.unwrap();
    // The gateway closes the connection when it has dropped the request.
    assert_eq!(leaving.read(&mut [0; 16]).await.unwrap(), 0);
    let (reply, ()) = tokio::join!(gateway.predict(&["a"]), async {
        gateway.until_looked_up(2).await;
        gateway.fake.open_gate();
    });
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=miss; collapsed; stored")
    );
    assert_eq!(gateway.fake.calls().len(), 1);
}

#[tokio::test]
async fn errors_are_shared_and_not_remembered() {
    let gateway = Gateway::start().await;
    gateway.fake.behave(Behaviour::Refuse {
        status: 500,
        body: r#"{"error":"boom"}"#,
        retry_after: None,
    });
    let (first, second) = overlapping(
        &gateway,
        gateway.predict(&["a"]),
        gateway.predict(&["a"]),
        gateway.until_looked_up(2),
    )
    .await;
    assert_eq!(
        (first.problem(502), second.problem(502)),
        ("model_failed".to_owned(), "model_failed".to_owned())
    );
    gateway.fake.behave(Behaviour::Answer);
    assert_eq!(gateway.predict(&["a"]).await.status, 200);
}

#[tokio::test]
async fn no_cache_shares_no_call() {
    let gateway = Gateway::start().await;
    let (first, second) = overlapping(
        &gateway,
        gateway.predict(&["a"]),
        gateway.predict_with(&["a"], "no-cache"),
        gateway.until_called(2),
    )
    .await;
    assert_eq!(
        (first.cache_status(), second.cache_status()),
        (
            "throughline; fwd=miss; stored",
            "throughline; fwd=request; stored"
        )
    );
}

fn key(id: &str) -> Key {
    Key {
        model: "m".into(),
        variant: "primary".into(),
        version: "1".into(),
        data_id: id.into(),
    }
}

fn calls() -> Arc<SingleFlight<u32>> {
    SingleFlight::new(Duration::from_secs(2))
}

#[tokio::test]
async fn an_ended_call_answers_requests_that_looked_up_before_its_end() {
    let calls = calls();
    let before = Instant::now();
    calls
        .join(vec![key("a")], before)
        .leader
        .unwrap()
        .finish(7, true);
    let late = calls.join(vec![key("a"), key("b")], before);
    let roles: Vec<Role> = late.waiters.iter().map(|(_, role)| *role).collect();
    assert_eq!(
        roles,
        [Role::Waits, Role::Leads],
        "only b is computed again"
    );
    assert!(late.leader.is_some());
    let (waiter, _) = late.waiters.into_iter().next().unwrap();
    assert_eq!(waiter.outcome().await, Some(7));
    let after = calls.join(vec![key("a")], Instant::now());
    assert!(after.leader.is_some() && after.waiters[0].1 == Role::Leads);
}

#[tokio::test]
async fn a_lost_leader_does_not_block_its_keys() {
    let calls = calls();
    let looked_up = Instant::now();
    let leader = calls.join(vec![key("a")], looked_up).leader.unwrap();
    let (waiter, role) = calls.join(vec![key("a")], looked_up).waiters.remove(0);
    assert_eq!(role, Role::Waits);
    drop(leader);
    assert_eq!(waiter.outcome().await, None);
    calls
        .join(vec![key("a")], looked_up)
        .leader
        .unwrap()
        .finish(1, false);
    assert!(
        calls.join(vec![key("a")], looked_up).leader.is_some(),
        "an outcome that is not remembered answers no later request"
    );
}
