//! The SDK's providers, built from settings. Nothing here touches global state but the meter (see
//! [`build`]).

use std::sync::Arc;

use opentelemetry::global;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream,
};
use opentelemetry_sdk::propagation::BaggagePropagator;
use opentelemetry_sdk::trace::{
    BatchConfig, BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SimpleSpanProcessor,
    TracerProviderBuilder,
};

use crate::error::Error;
use crate::export::{
    CountingLogExporter, CountingProcessor, ExportCounts, Normalizing, SpanBatchExporter, Transport,
};
use crate::propagation::TraceContext;
use crate::resource::resource;
use crate::settings::{Exporter, Otlp, Propagator, Settings, SpanLimits};

/// Spans that may wait for export. Under load a gateway fills the 2,048 places of the SDK while one
/// batch is being sent again.
const SPAN_QUEUE: usize = 16_384;

/// The three providers, and the counts of what their exporters lost.
#[derive(Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: SdkTracerProvider,
    pub(crate) meter: SdkMeterProvider,
    pub(crate) logger: SdkLoggerProvider,
    pub(crate) counts: Arc<ExportCounts>,
}

/// Builds all providers. The meter provider becomes the global one first: the batch processors take
/// their own counters from the global meter while they are built.
pub(crate) fn build(settings: &Settings) -> Result<Providers, Error> {
    let resource = resource(settings);
    let counts = Arc::new(ExportCounts::default());
    let meter = meter_provider(settings, resource.clone())?;
    global::set_meter_provider(meter.clone());
    Ok(Providers {
        tracer: tracer_provider(settings, resource.clone(), &counts)?,
        logger: logger_provider(settings, resource, &counts)?,
        meter,
        counts,
    })
}

/// The propagator of the settings; without any, context neither enters nor leaves.
pub(crate) fn propagator(settings: &Settings) -> TextMapCompositePropagator {
    let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    for propagator in &settings.propagators {
        propagators.push(match propagator {
            Propagator::TraceContext => Box::<TraceContext>::default(),
            Propagator::Baggage => Box::new(BaggagePropagator::new()),
        });
    }
    TextMapCompositePropagator::new(propagators)
}

fn tracer_provider(
    settings: &Settings,
    resource: Resource,
    counts: &Arc<ExportCounts>,
) -> Result<SdkTracerProvider, Error> {
    let value_length = settings.limits.value_length;
    let builder = with_limits(
        SdkTracerProvider::builder().with_resource(resource),
        settings.limits,
    );
    Ok(match settings.traces {
        Exporter::Otlp => {
            let exporter = Normalizing {
                inner: SpanBatchExporter::new(&settings.otlp.traces, counts)?,
                value_length,
            };
            let inner = BatchSpanProcessor::builder(exporter)
                .with_batch_config(span_queue())
                .build();
            let counts = Arc::clone(counts);
            builder
                .with_span_processor(CountingProcessor { inner, counts })
                .build()
        }
        Exporter::Console => {
            let exporter = Normalizing {
                inner: opentelemetry_stdout::SpanExporter::default(),
                value_length,
            };
            builder
                .with_span_processor(SimpleSpanProcessor::new(exporter))
                .build()
        }
        Exporter::None => builder.build(),
    })
}

fn with_limits(mut builder: TracerProviderBuilder, limits: SpanLimits) -> TracerProviderBuilder {
    if let Some(most) = limits.span_attributes {
        builder = builder.with_max_attributes_per_span(most);
    }
    if let Some(most) = limits.event_attributes {
        builder = builder.with_max_attributes_per_event(most);
    }
    if let Some(most) = limits.link_attributes {
        builder = builder.with_max_attributes_per_link(most);
    }
    builder
}

fn span_queue() -> BatchConfig {
    let queue = BatchConfigBuilder::default();
    if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_some() {
        // The SDK has read it.
        return queue.build();
    }
    queue.with_max_queue_size(SPAN_QUEUE).build()
}

fn meter_provider(settings: &Settings, resource: Resource) -> Result<SdkMeterProvider, Error> {
    let mut builder = SdkMeterProvider::builder().with_resource(resource);
    if settings.exponential_histograms {
        builder = builder.with_view(exponential);
    }
    let otlp = &settings.otlp.metrics;
    Ok(match settings.metrics {
        Exporter::Otlp => builder
            .with_periodic_exporter(
                MetricExporter::builder()
                    .with_http()
                    .with_protocol(protocol(otlp))
                    .with_endpoint(otlp.endpoint.to_string())
                    .with_http_client(Transport::new(otlp)?)
                    .build()?,
            )
            .build(),
        Exporter::Console => builder
            .with_periodic_exporter(opentelemetry_stdout::MetricExporter::default())
            .build(),
        Exporter::None => builder.build(),
    })
}

/// The view that turns every histogram into an exponential one, with the sizes that the
/// specification gives.
fn exponential(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram {
        return None;
    }
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

fn logger_provider(
    settings: &Settings,
    resource: Resource,
    counts: &Arc<ExportCounts>,
) -> Result<SdkLoggerProvider, Error> {
    let builder = SdkLoggerProvider::builder().with_resource(resource);
    let otlp = &settings.otlp.logs;
    Ok(match settings.logs {
        Exporter::Otlp => {
            let exporter = CountingLogExporter {
                inner: LogExporter::builder()
                    .with_http()
                    .with_protocol(protocol(otlp))
                    .with_endpoint(otlp.endpoint.to_string())
                    .with_http_client(Transport::new(otlp)?)
                    .build()?,
                counts: Arc::clone(counts),
            };
            builder
                .with_log_processor(CountingProcessor {
                    inner: BatchLogProcessor::builder(exporter).build(),
                    counts: Arc::clone(counts),
                })
                .build()
        }
        Exporter::Console => builder
            .with_simple_exporter(opentelemetry_stdout::LogExporter::default())
            .build(),
        Exporter::None => builder.build(),
    })
}

fn protocol(otlp: &Otlp) -> Protocol {
    if otlp.json {
        Protocol::HttpJson
    } else {
        Protocol::HttpBinary
    }
}
