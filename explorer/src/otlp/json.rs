//! OTLP/JSON: [`mod@decode`] reads what exporters send, [`mod@encode`] writes what the read API
//! returns.

mod decode;
mod encode;

pub(crate) use decode::decode;
pub(crate) use encode::encode;
