//! Trace context of callers: their trace is continued, and an unsampled one stays unsampled.

use anyhow::Result;
use harness::eventually;
use http::StatusCode;

use crate::system::System;
use crate::w3c;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319";
const PARENT: &str = "b7ad6b7169203331";

#[test]
fn a_callers_trace_is_continued_for_every_sampled_flag() -> Result<()> {
    let system = System::start()?;
    for (digit, flags) in [(1, "01"), (3, "03")] {
        let trace_id = format!("{TRACE}{digit}");
        let parent = format!("00-{trace_id}-{PARENT}-{flags}");
        let wine = format!("wine-010{digit}");
        let answer = system.predict_with(&[&wine], &[("traceparent", &parent)])?;
        assert_eq!(answer.trace_id(), trace_id, "flags {flags}");
        // The caller's own span is not here, so the parent of our first span is missing.
        let expected =
            crate::trace_contract::MISS.replace("SERVER gateway", "SERVER gateway (remote parent)");
        let trace = eventually("the whole trace arrives", || {
            Ok(system
                .trace(&trace_id)?
                .filter(|trace| explorer::tree::outline(trace) == expected))
        })?;
        let root = trace
            .span("POST /v1/predictions")
            .expect("the root is in the outline");
        assert_eq!(root.parent.as_deref(), Some(PARENT));
    }
    Ok(())
}

#[test]
fn an_unsampled_trace_stays_unsampled_in_every_process() -> Result<()> {
    let system = System::start()?;
    for (digit, flags) in [(0, "00"), (2, "02")] {
        let trace_id = format!("{TRACE}{digit}");
        let parent = format!("00-{trace_id}-{PARENT}-{flags}");
        let answer =
            system.predict_with(&[&format!("wine-020{digit}")], &[("traceparent", &parent)])?;
        assert_eq!(answer.status, StatusCode::OK);
        let response = answer.header("traceresponse");
        assert!(
            response.starts_with(&format!("00-{trace_id}-")),
            "{response}"
        );
        let sampled = u8::from_str_radix(response.rsplit('-').next().unwrap_or_default(), 16)? & 1;
        assert_eq!(sampled, 0, "{response}");
        // A sampled request after it: once that has arrived whole, the unsampled one would have
        // arrived, too.
        let marker = system.predict(&[&format!("wine-021{digit}")])?;
        system.trace_with_outline(&marker.trace_id(), crate::trace_contract::MISS)?;
        assert!(
            system.trace(&trace_id)?.is_none(),
            "flags {flags}: nothing of the trace may be exported"
        );
    }
    Ok(())
}

#[test]
fn malformed_context_starts_a_new_trace() -> Result<()> {
    let system = System::start()?;
    let malformed = [
        format!("ff-{TRACE}a-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("00-{TRACE}a-{}-01", "0".repeat(16)),
        "00-short-ids-01".to_owned(),
        "nonsense".to_owned(),
        "-".repeat(5000),
    ];
    for parent in malformed {
        let answer = system.predict_with(&["wine-0300"], &[("traceparent", &parent)])?;
        assert_eq!(answer.status, StatusCode::OK, "{parent}");
        assert_ne!(answer.trace_id(), format!("{TRACE}a"), "{parent}");
    }
    Ok(())
}

#[test]
fn every_service_reads_the_cases_of_the_w3c_alike() -> Result<()> {
    let system = System::start()?;
    let services = [
        ("gateway", &system.urls.gateway),
        ("model-service", &system.urls.model_service),
        ("feature-store", &system.urls.feature_store),
    ];
    for (service, url) in services {
        reads_the_cases_of_the_w3c(service, url)?;
    }
    Ok(())
}

/// The answers of a service name the trace that each case wants.
pub(crate) fn reads_the_cases_of_the_w3c(service: &str, url: &str) -> Result<()> {
    for case in w3c::cases() {
        let headers: Vec<_> = case
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = harness::send("GET", &format!("{url}/no/such/path"), &headers, b"")?;
        let what = format!("{service}, {}: {answer:?}", case.name);
        let parts: Vec<_> = answer
            .header("traceresponse")
            .unwrap_or_default()
            .split('-')
            .collect();
        let ["00", trace, span, flags] = parts[..] else {
            panic!("{what}");
        };
        let continued = (trace == w3c::TRACE).then_some(flags);
        assert_eq!(continued, case.continues, "{what}");
        assert_ne!(span, w3c::PARENT, "{what}");
    }
    Ok(())
}
