//! The SDK's providers, built from settings; nothing here touches global state but the meter (see [`build`]).

use std::sync::Arc;

use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream,
};
use opentelemetry_sdk::propagation::BaggagePropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SimpleSpanProcessor,
};
use opentelemetry_semantic_conventions::attribute as semconv;

use crate::Error;
use crate::export::{Counted, Finished, Offered, Tally};
use crate::otlp::{Direct, Prepared};
use crate::propagation::TraceContext;
use crate::settings::{Exporter, Otlp, Propagator, Settings};
use crate::transport::Transport;

/// Spans that may wait for export. The SDK's 2,048 hold a third of a second of a busy gateway on two cores.
const SPAN_QUEUE: usize = 16_384;

/// The three providers and what they have lost.
#[derive(Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: SdkTracerProvider,
    pub(crate) meter: SdkMeterProvider,
    pub(crate) logger: SdkLoggerProvider,
    pub(crate) tally: Arc<Tally>,
}

/// Builds all providers. The meter provider becomes the global one first: the batch processors take their own counters
/// from the global meter while they are built.
pub(crate) fn build(settings: &Settings) -> Result<Providers, Error> {
    let resource = resource(settings);
    let tally = Arc::new(Tally::default());
    let meter = meter_provider(settings, resource.clone())?;
    global::set_meter_provider(meter.clone());
    let tracer = tracer_provider(settings, resource.clone(), &tally)?;
    let logger = logger_provider(settings, resource, &tally)?;
    Ok(Providers {
        tracer,
        meter,
        logger,
        tally,
    })
}

/// The propagator of the settings; without any, context neither enters nor leaves.
pub(crate) fn propagator(settings: &Settings) -> TextMapCompositePropagator {
    let boxed = |propagator: &Propagator| -> Box<dyn TextMapPropagator + Send + Sync> {
        match propagator {
            Propagator::TraceContext => Box::<TraceContext>::default(),
            Propagator::Baggage => Box::new(BaggagePropagator::new()),
        }
    };
    TextMapCompositePropagator::new(settings.propagators.iter().map(boxed).collect())
}

/// Our defaults first, then `OTEL_RESOURCE_ATTRIBUTES`, then `OTEL_SERVICE_NAME`: a later one wins.
fn resource(settings: &Settings) -> Resource {
    let mut defaults = vec![
        KeyValue::new(semconv::SERVICE_NAME, settings.service_name.clone()),
        KeyValue::new(semconv::SERVICE_NAMESPACE, "throughline"),
        KeyValue::new(semconv::SERVICE_VERSION, settings.service_version),
        KeyValue::new(
            semconv::SERVICE_INSTANCE_ID,
            uuid::Uuid::new_v4().to_string(),
        ),
        KeyValue::new(semconv::DEPLOYMENT_ENVIRONMENT_NAME, "development"),
        KeyValue::new(semconv::PROCESS_PID, i64::from(std::process::id())),
    ];
    if let Some(revision) = crate::revision() {
        defaults.push(KeyValue::new(semconv::VCS_REF_HEAD_REVISION, revision));
    }
    Resource::builder_empty()
        .with_attributes(defaults)
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ])
        // The settings know whether `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` named the service.
        .with_service_name(settings.service_name.clone())
        .build()
}

fn tracer_provider(
    settings: &Settings,
    resource: Resource,
    tally: &Arc<Tally>,
) -> Result<SdkTracerProvider, Error> {
    let mut builder = SdkTracerProvider::builder().with_resource(resource);
    let limits = settings.limits;
    if let Some(most) = limits.span_attributes {
        builder = builder.with_max_attributes_per_span(most);
    }
    if let Some(most) = limits.event_attributes {
        builder = builder.with_max_attributes_per_event(most);
    }
    if let Some(most) = limits.link_attributes {
        builder = builder.with_max_attributes_per_link(most);
    }
    Ok(match settings.traces {
        Exporter::Otlp => {
            let otlp = &settings.otlp.traces;
            let prepared = (!otlp.json && !otlp.gzip).then(Prepared::default);
            let inner = SpanExporter::builder()
                .with_http()
                .with_protocol(protocol(otlp))
                .with_http_client(Transport::new(otlp, prepared.clone())?)
                .build()?;
            let inner = Direct {
                inner,
                prepared,
                resource: Resource::builder_empty().build(),
            };
            let exporter = Finished {
                inner: Counted {
                    inner,
                    tally: Arc::clone(tally),
                },
                value_length: limits.value_length,
            };
            let mut queue = BatchConfigBuilder::default();
            if std::env::var_os("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
                queue = queue.with_max_queue_size(SPAN_QUEUE);
            }
            let inner = BatchSpanProcessor::builder(exporter)
                .with_batch_config(queue.build())
                .build();
            builder
                .with_span_processor(Offered {
                    inner,
                    tally: Arc::clone(tally),
                })
                .build()
        }
        Exporter::Console => {
            let exporter = Finished {
                inner: opentelemetry_stdout::SpanExporter::default(),
                value_length: limits.value_length,
            };
            builder
                .with_span_processor(SimpleSpanProcessor::new(exporter))
                .build()
        }
        Exporter::None => builder.build(),
    })
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
                    .with_http_client(Transport::new(otlp, None)?)
                    .build()?,
            )
            .build(),
        Exporter::Console => builder
            .with_periodic_exporter(opentelemetry_stdout::MetricExporter::default())
            .build(),
        Exporter::None => builder.build(),
    })
}

/// The view that turns every histogram into an exponential one, with the sizes that the specification gives.
fn exponential(instrument: &Instrument) -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    let histogram = instrument.kind() == InstrumentKind::Histogram;
    histogram
        .then(|| Stream::builder().with_aggregation(aggregation).build().ok())
        .flatten()
}

fn logger_provider(
    settings: &Settings,
    resource: Resource,
    tally: &Arc<Tally>,
) -> Result<SdkLoggerProvider, Error> {
    let builder = SdkLoggerProvider::builder().with_resource(resource);
    Ok(match settings.logs {
        Exporter::Otlp => {
            let otlp = &settings.otlp.logs;
            let inner = LogExporter::builder()
                .with_http()
                .with_protocol(protocol(otlp))
                .with_http_client(Transport::new(otlp, None)?)
                .build()?;
            let inner = BatchLogProcessor::builder(Counted {
                inner,
                tally: Arc::clone(tally),
            })
            .build();
            builder
                .with_log_processor(Offered {
                    inner,
                    tally: Arc::clone(tally),
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
