package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// flushTimeout bounds the wait at exit for a collector that does not answer.
const flushTimeout = 2 * time.Second

// startTelemetry sets the global tracer provider and propagator from the standard OTEL_*
// variables. The returned function exports the remaining spans; it is never nil.
//
// The exporter reads OTEL_EXPORTER_OTLP_*, the SDK OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
// OTEL_TRACES_SAMPLER* and OTEL_BSP_*. Two that the SDK ignores are read here: OTEL_SDK_DISABLED
// and OTEL_TRACES_EXPORTER=none.
func startTelemetry(ctx context.Context, stderr io.Writer) (flush func(), err error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		fmt.Fprintf(stderr, "go-client: telemetry: %v\n", err)
	}))
	// Baggage is sent even when the SDK is disabled.
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return func() {}, nil
	}

	exporter, err := otlptracehttp.New(ctx, exporterOptions()...)
	if err != nil {
		return func() {}, fmt.Errorf("the exporter: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "go-client")),
		resource.WithTelemetrySDK(),
		resource.WithProcessPID(),
		resource.WithFromEnv(), // last, so that OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	)
	if err != nil {
		return func() {}, fmt.Errorf("the resource: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(described))
	otel.SetTracerProvider(provider)
	return func() {
		// Not the program's context, which Ctrl-C may have cancelled.
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			otel.Handle(err)
		}
	}, nil
}

// exporterOptions sets the specification's default, http://localhost:4318; the Go exporter
// defaults to https.
func exporterOptions() []otlptracehttp.Option {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return nil
		}
	}
	return []otlptracehttp.Option{otlptracehttp.WithInsecure()}
}
