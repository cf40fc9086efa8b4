//! The OTLP format, without HTTP and without storage: protobuf requests as slices, and OTLP/JSON in
//! both directions.

pub(crate) mod json;
pub(crate) mod rejected;
pub(crate) mod wire;
