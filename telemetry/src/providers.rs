//! The SDK's providers, built from settings. Nothing here touches global state but the meter (see
//! [`build`]).

use std::sync::Arc;

use opentelemetry::global;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream,
};
use opentelemetry_sdk::trace::{
    self, BatchSpanProcessor, SdkTracerProvider, SimpleSpanProcessor, TracerProviderBuilder,
};

use crate::export::{
    ExportCounts, LogBatchExporter, MetricBatchExporter, Normalizing, QueueLimit, Queued,
    Shortening, SpanBatchExporter,
};
use crate::propagation::{Baggage, TraceContext};
use crate::resource::resource;
use crate::settings::{Exporter, Propagator, Settings};

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
pub(crate) fn build(settings: &Settings) -> Providers {
    let resource = resource(settings);
    let counts = Arc::new(ExportCounts::default());
    let meter = meter_provider(settings, resource.clone(), &counts);
    global::set_meter_provider(meter.clone());
    Providers {
        tracer: tracer_provider(settings, resource.clone(), &counts),
        logger: logger_provider(settings, resource, &counts),
        meter,
        counts,
    }
}

/// The propagator of the settings; without any, context neither enters nor leaves.
pub(crate) fn propagator(settings: &Settings) -> TextMapCompositePropagator {
    let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    for propagator in &settings.propagators {
        propagators.push(match propagator {
            Propagator::TraceContext => Box::<TraceContext>::default(),
            Propagator::Baggage => Box::<Baggage>::default(),
        });
    }
    TextMapCompositePropagator::new(propagators)
}

fn tracer_provider(
    settings: &Settings,
    resource: Resource,
    counts: &Arc<ExportCounts>,
) -> SdkTracerProvider {
    let value_length = settings.limits.value_length;
    let mut builder = with_limits(settings).with_resource(resource);
    for exporter in &settings.traces {
        builder = match exporter {
            Exporter::Otlp => builder.with_span_processor(Shortening {
                inner: span_queue(settings, counts),
                value_length,
            }),
            Exporter::Console => builder.with_span_processor(Shortening {
                inner: SimpleSpanProcessor::new(Normalizing {
                    inner: opentelemetry_stdout::SpanExporter::default(),
                }),
                value_length,
            }),
        };
    }
    builder.build()
}

fn with_limits(settings: &Settings) -> TracerProviderBuilder {
    let limits = settings.limits;
    SdkTracerProvider::builder()
        .with_sampler(settings.sampler.clone())
        .with_max_attributes_per_span(limits.span_attributes)
        .with_max_attributes_per_event(limits.event_attributes)
        .with_max_attributes_per_link(limits.link_attributes)
        .with_max_events_per_span(limits.events)
        .with_max_links_per_span(limits.links)
}

fn span_queue(settings: &Settings, counts: &Arc<ExportCounts>) -> Queued<BatchSpanProcessor> {
    let batch = settings.span_batch;
    let limit = QueueLimit::of_spans(batch.queue);
    let exporter = Queued {
        inner: Normalizing {
            inner: SpanBatchExporter::new(&settings.otlp.traces, counts),
        },
        limit: Arc::clone(&limit),
        counts: Arc::clone(counts),
    };
    let config = trace::BatchConfigBuilder::default()
        .with_max_queue_size(batch.queue)
        .with_max_export_batch_size(batch.size)
        .with_scheduled_delay(batch.delay);
    let inner = BatchSpanProcessor::builder(exporter)
        .with_batch_config(config.build())
        .build();
    Queued {
        inner,
        limit,
        counts: Arc::clone(counts),
    }
}

fn meter_provider(
    settings: &Settings,
    resource: Resource,
    counts: &Arc<ExportCounts>,
) -> SdkMeterProvider {
    let mut builder = SdkMeterProvider::builder().with_resource(resource);
    if settings.exponential_histograms {
        builder = builder.with_view(exponential);
    }
    let interval = settings.metric_interval;
    for exporter in &settings.metrics {
        builder = match exporter {
            Exporter::Otlp => {
                let otlp = &settings.otlp.metrics;
                let exporter = MetricBatchExporter::new(otlp, settings.temporality, counts);
                let reader = PeriodicReader::builder(exporter).with_interval(interval);
                builder.with_reader(reader.build())
            }
            Exporter::Console => {
                let exporter = opentelemetry_stdout::MetricExporter::default();
                let reader = PeriodicReader::builder(exporter).with_interval(interval);
                builder.with_reader(reader.build())
            }
        };
    }
    builder.build()
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
) -> SdkLoggerProvider {
    let mut builder = SdkLoggerProvider::builder().with_resource(resource);
    for exporter in &settings.logs {
        builder = match exporter {
            Exporter::Otlp => builder.with_log_processor(log_queue(settings, counts)),
            Exporter::Console => {
                builder.with_simple_exporter(opentelemetry_stdout::LogExporter::default())
            }
        };
    }
    builder.build()
}

fn log_queue(settings: &Settings, counts: &Arc<ExportCounts>) -> Queued<BatchLogProcessor> {
    let batch = settings.log_batch;
    let limit = QueueLimit::of_log_records(batch.queue);
    let exporter = Queued {
        inner: LogBatchExporter::new(&settings.otlp.logs, settings.log_limits, counts),
        limit: Arc::clone(&limit),
        counts: Arc::clone(counts),
    };
    let config = logs::BatchConfigBuilder::default()
        .with_max_queue_size(batch.queue)
        .with_max_export_batch_size(batch.size)
        .with_scheduled_delay(batch.delay);
    let inner = BatchLogProcessor::builder(exporter)
        .with_batch_config(config.build())
        .build();
    Queued {
        inner,
        limit,
        counts: Arc::clone(counts),
    }
}
