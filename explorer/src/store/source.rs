//! Where an item comes from, resource and instrumentation scope, stored once for all its items.

use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::attribute;
use crate::otlp::wire::{Malformed, ScopeItems};

/// Shown for telemetry without `service.name`, as the resource conventions say.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// Structures around a source: the slot in the set, the counts of the `Arc`, four allocations.
const OVERHEAD: usize = size_of::<Source>() + 96;

/// A resource with a scope, as encoded on the wire.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub service: String,
    resource: Vec<u8>,
    pub resource_schema_url: String,
    scope: Vec<u8>,
    pub scope_schema_url: String,
}

impl Source {
    pub(crate) fn of(items: &ScopeItems<'_>) -> Result<Source, Malformed> {
        let resource = Resource::decode(items.resource)?;
        InstrumentationScope::decode(items.scope)?;
        Ok(Source {
            service: service_name(&resource.attributes),
            resource: items.resource.to_vec(),
            resource_schema_url: String::from_utf8_lossy(items.resource_schema_url).into_owned(),
            scope: items.scope.to_vec(),
            scope_schema_url: String::from_utf8_lossy(items.scope_schema_url).into_owned(),
        })
    }

    /// The decoded resource. The bytes are valid, since [`Source::of`] has decoded them once.
    pub(crate) fn resource(&self) -> Resource {
        Resource::decode(&self.resource[..]).unwrap_or_default()
    }

    /// The decoded scope, valid for the same reason.
    pub(crate) fn scope(&self) -> InstrumentationScope {
        InstrumentationScope::decode(&self.scope[..]).unwrap_or_default()
    }

    pub(crate) fn has_resource_of(&self, other: &Source) -> bool {
        self.resource == other.resource && self.resource_schema_url == other.resource_schema_url
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
    match attribute::text(attributes, "service.name") {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => UNKNOWN_SERVICE.to_owned(),
    }
}

/// The sources of one store, each of them once, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct SourceSet {
    sources: HashSet<Arc<Source>>,
    bytes: usize,
    /// The number of sources at which the next one triggers a sweep.
    sweep_at: usize,
}

impl SourceSet {
    pub(crate) fn intern(&mut self, source: Source) -> Arc<Source> {
        if let Some(known) = self.sources.get(&source) {
            return Arc::clone(known);
        }
        if self.sources.len() >= self.sweep_at {
            self.sweep();
        }
        self.bytes += source.cost();
        let source = Arc::new(source);
        self.sources.insert(Arc::clone(&source));
        source
    }

    /// Drops one reference; a source goes with its last one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller must not keep the reference that it releases"
    )]
    pub(crate) fn release(&mut self, source: Arc<Source>) {
        // Two references: the set's own and the released one. A reader may have a third for a
        // moment; the next sweep then removes the source.
        if Arc::strong_count(&source) == 2 && self.sources.remove(&source) {
            self.bytes -= source.cost();
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn sweep(&mut self) {
        self.sources.retain(|source| Arc::strong_count(source) > 1);
        self.bytes = self.sources.iter().map(|source| source.cost()).sum();
        self.sweep_at = self.sources.len() * 2 + 64;
    }
}
