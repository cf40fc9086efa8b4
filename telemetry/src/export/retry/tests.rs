//! Delays between requests, and what `Retry-After` may say.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Backoff, MAX_JITTER_MS, is_retryable, retry_after};

#[test]
fn delays_double_and_end_after_the_last_retry() {
    let mut backoff = Backoff::default();
    for shortest in [100, 200, 400, 800, 1600] {
        let delay = backoff.next_delay(None).expect("a retry").as_millis() as u64;
        assert!(
            (shortest..=shortest + MAX_JITTER_MS).contains(&delay),
            "{delay} for {shortest}"
        );
    }
    assert_eq!(backoff.next_delay(None), None);
}

#[test]
fn a_delay_is_never_shorter_than_the_collector_asks() {
    let asked = Duration::from_secs(2);
    let delay = Backoff::default().next_delay(Some(asked));
    assert!(delay >= Some(asked), "{delay:?}");
}

#[test]
fn only_the_statuses_that_otlp_names_are_retried() {
    for status in 100..600 {
        let retried = is_retryable(StatusCode::from_u16(status).expect("a status"));
        assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let in_ten_seconds = httpdate::fmt_http_date(now + Duration::from_secs(10));
    let past = httpdate::fmt_http_date(now - Duration::from_secs(10));
    let cases = [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        (in_ten_seconds.as_str(), Some(10)),
        (past.as_str(), Some(0)),
        ("99999", Some(30)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ];
    for (value, seconds) in cases {
        let header = HeaderValue::from_str(value).expect("a header value");
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, header)]);
        assert_eq!(
            retry_after(&headers, now),
            seconds.map(Duration::from_secs),
            "{value}"
        );
    }
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}
