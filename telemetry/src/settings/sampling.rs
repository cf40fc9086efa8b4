//! The sampler of traces that begin here.

use opentelemetry::TraceId;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use super::Reader;

/// The two variables as the SDK's sampler. The default, and the fallback, is
/// `parentbased_always_on`.
pub(super) fn read(from: &Reader<'_>) -> Sampler {
    let sampler = from.word("OTEL_TRACES_SAMPLER", &SAMPLERS);
    let Sampling { asks_parent, root } = sampler.unwrap_or(Sampling {
        asks_parent: true,
        root: Root::On,
    });
    let root = match root {
        Root::On => Sampler::AlwaysOn,
        Root::Off => Sampler::AlwaysOff,
        Root::Ratio => Sampler::TraceIdRatioBased(ratio(from)),
    };
    if asks_parent {
        Sampler::ParentBased(Box::new(root))
    } else {
        root
    }
}

/// What decides: the parent or not, and what for a root.
#[derive(Clone, Copy)]
struct Sampling {
    asks_parent: bool,
    root: Root,
}

#[derive(Clone, Copy)]
enum Root {
    On,
    Off,
    Ratio,
}

const SAMPLERS: [(&str, Sampling); 6] = [
    ("always_on", sampling(false, Root::On)),
    ("always_off", sampling(false, Root::Off)),
    ("traceidratio", sampling(false, Root::Ratio)),
    ("parentbased_always_on", sampling(true, Root::On)),
    ("parentbased_always_off", sampling(true, Root::Off)),
    ("parentbased_traceidratio", sampling(true, Root::Ratio)),
];

const fn sampling(asks_parent: bool, root: Root) -> Sampling {
    Sampling { asks_parent, root }
}

/// Whether no root is left out. A ratio leaves out the highest trace ids first.
pub(super) fn samples_every_root(sampler: &Sampler) -> bool {
    let highest = TraceId::from_bytes([0xff; 16]);
    let result = sampler.should_sample(None, highest, "", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

/// The share of traces that is sampled; all without an argument, or with one that is no ratio.
fn ratio(from: &Reader<'_>) -> f64 {
    const VARIABLE: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(value) = from.get(VARIABLE) else {
        return 1.0;
    };
    let ratio = value.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .unwrap_or_else(|| {
            from.ignore(
                VARIABLE,
                format!("is `{value}`; it takes a ratio from 0 to 1"),
            );
            1.0
        })
}
