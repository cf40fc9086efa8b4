//! Where an item comes from (resource and instrumentation scope), held once however many items share it.

use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::otlp::wire::{Group, Malformed};
use crate::value;

/// Shown for telemetry without `service.name`, as the resource conventions say.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// Structures around an origin: the set's slot, the counts of the `Arc`, four allocations.
const OVERHEAD: usize = size_of::<Origin>() + 96;

/// A resource with a scope, as encoded on the wire.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub service: String,
    pub resource: Vec<u8>,
    pub resource_schema_url: String,
    pub scope: Vec<u8>,
    pub scope_schema_url: String,
}

impl Origin {
    pub(crate) fn of(group: &Group<'_>) -> Result<Origin, Malformed> {
        let resource = Resource::decode(group.resource)?;
        InstrumentationScope::decode(group.scope)?;
        Ok(Origin {
            service: service_name(&resource.attributes),
            resource: group.resource.to_vec(),
            resource_schema_url: String::from_utf8_lossy(group.resource_schema_url).into_owned(),
            scope: group.scope.to_vec(),
            scope_schema_url: String::from_utf8_lossy(group.scope_schema_url).into_owned(),
        })
    }

    /// The decoded resource. Empty only if it was, since [`Origin::of`] decoded it once.
    pub(crate) fn resource(&self) -> Resource {
        Resource::decode(&self.resource[..]).unwrap_or_default()
    }

    pub(crate) fn scope(&self) -> InstrumentationScope {
        InstrumentationScope::decode(&self.scope[..]).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        OVERHEAD
            + self.service.len()
            + self.resource.len()
            + self.resource_schema_url.len()
            + self.scope.len()
            + self.scope_schema_url.len()
    }
}

/// `service.name` of a resource.
pub(crate) fn service_name(attributes: &[KeyValue]) -> String {
    match value::text(attributes, "service.name") {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => UNKNOWN_SERVICE.to_owned(),
    }
}

/// The origins of one store, with their bytes.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    origins: HashSet<Arc<Origin>>,
    bytes: usize,
    /// Sweep when there are as many.
    sweep_at: usize,
}

impl Interner {
    pub(crate) fn intern(&mut self, origin: Origin) -> Arc<Origin> {
        if let Some(known) = self.origins.get(&origin) {
            return Arc::clone(known);
        }
        if self.origins.len() >= self.sweep_at {
            self.sweep();
        }
        self.bytes += origin.cost();
        let origin = Arc::new(origin);
        self.origins.insert(Arc::clone(&origin));
        origin
    }

    /// Gives one use back; the last one frees the origin.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller must not keep the use that it gives back"
    )]
    pub(crate) fn release(&mut self, origin: Arc<Origin>) {
        // Two: the set's own and the one given back. A reader may hold a third for a moment; the next sweep finds what
        // stayed because of it.
        if Arc::strong_count(&origin) == 2 && self.origins.remove(&origin) {
            self.bytes -= origin.cost();
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn sweep(&mut self) {
        self.origins.retain(|origin| Arc::strong_count(origin) > 1);
        self.bytes = self.origins.iter().map(|origin| origin.cost()).sum();
        self.sweep_at = self.origins.len() * 2 + 64;
    }
}
