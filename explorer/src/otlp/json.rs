//! OTLP/JSON: [`decode`] reads what exporters send, [`encode`] writes what the read API returns.

mod decode;
mod encode;

pub(crate) use decode::decode;
pub(crate) use encode::encode;
