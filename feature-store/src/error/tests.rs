//! Statuses and bodies of errors that only a backend or the limits can cause.

use super::*;

async fn answer(error: RequestError) -> (u16, Option<String>, String) {
    let response = error.into_response();
    let retry = response
        .headers()
        .get(header::RETRY_AFTER)
        .map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 10_000)
        .await
        .unwrap();
    (status, retry, String::from_utf8(body.to_vec()).unwrap())
}

fn engine(transient: bool) -> RequestError {
    let source = std::io::Error::other("secret path");
    RequestError::Backend(BackendError {
        action: "read features",
        error_type: "SQLITE_BUSY",
        transient,
        status_code: None,
        source: source.into(),
    })
}

#[tokio::test]
async fn a_transient_error_of_the_backend_may_be_retried_soon() {
    let body =
        ErrorBody::feast("FeastError", "the feature store cannot reach its features").to_json();
    assert_eq!(
        answer(engine(true)).await,
        (503, Some("1".to_owned()), body.clone())
    );
    assert_eq!(
        answer(engine(false)).await,
        (500, None, body),
        "and its own words stay inside"
    );
}

#[tokio::test]
async fn refusals_of_the_limits_are_exceptions() {
    let (status, retry, body) = answer(Refusal::TooManyRequests.into()).await;
    assert_eq!((status, retry.as_deref()), (429, Some("1")));
    assert_eq!(
        ErrorBody::decode(body.as_bytes()).unwrap().class,
        "FeastError"
    );
    let (status, retry, body) = answer(Refusal::TimedOut.into()).await;
    assert_eq!((status, retry), (504, None));
    assert_eq!(
        ErrorBody::decode(body.as_bytes()).unwrap().message,
        "the feature store could not answer in time"
    );
}
