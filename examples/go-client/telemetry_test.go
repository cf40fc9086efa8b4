package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"
	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector starts a server that receives OTLP traces.
func collector(t *testing.T) (address string, received func() *otlp.ExportTraceServiceRequest) {
	t.Helper()
	requests := make(chan *otlp.ExportTraceServiceRequest, 8)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		request := &otlp.ExportTraceServiceRequest{}
		content, _ := io.ReadAll(r.Body)
		if err := proto.Unmarshal(content, request); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("exported to %s: %v", r.URL.Path, err)
		}
		requests <- request
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	return server.URL, func() *otlp.ExportTraceServiceRequest {
		select {
		case request := <-requests:
			return request
		default:
			return nil
		}
	}
}

func TestSpansAreExportedBeforeTheProgramEnds(t *testing.T) {
	endpoint, received := collector(t)
	address, _ := gateway(t, http.StatusOK, nil, twoPredictions)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	t.Setenv("OTEL_SERVICE_NAME", "orders")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=shop")
	var stdout, stderr bytes.Buffer

	run([]string{"-gateway", address, "wine-0001", "nope"}, &stdout, &stderr)

	request := received()
	if request == nil {
		t.Fatal("nothing was exported")
	}
	resource := map[string]string{}
	for _, kv := range request.ResourceSpans[0].Resource.Attributes {
		resource[kv.Key] = kv.Value.GetStringValue()
	}
	if resource["service.name"] != "orders" || resource["service.namespace"] != "shop" {
		t.Errorf("the environment does not win: %v", resource)
	}
	names, traces := map[string]bool{}, map[string]bool{}
	for _, scope := range request.ResourceSpans[0].ScopeSpans {
		for _, span := range scope.Spans {
			names[span.Name] = true
			traces[hex.EncodeToString(span.TraceId)] = true
		}
	}
	if !names["predict"] || !names["POST"] || len(traces) != 1 {
		t.Errorf("exported %v in the traces %v", names, traces)
	}
	for id := range traces {
		if !strings.Contains(stdout.String(), "Trace: "+id) {
			t.Errorf("the trace id is not printed: %s", stdout.String())
		}
	}
}

func TestWithoutTelemetryNothingIsExported(t *testing.T) {
	for _, setting := range [][2]string{{"OTEL_SDK_DISABLED", "true"}, {"OTEL_TRACES_EXPORTER", "none"}} {
		t.Run(setting[0], func(t *testing.T) {
			endpoint, received := collector(t)
			address, last := gateway(t, http.StatusOK, nil, twoPredictions)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			t.Setenv(setting[0], setting[1])
			otel.SetTracerProvider(noop.NewTracerProvider())
			var stdout, stderr bytes.Buffer
			run([]string{"-gateway", address, "-variant", "canary", "wine-0001", "nope"}, &stdout, &stderr)
			if request := received(); request != nil || last.header.Get("Traceparent") != "" {
				t.Errorf("exported %v, traceparent %q", request, last.header.Get("Traceparent"))
			}
			if last.header.Get("Baggage") != "ml.variant=canary" {
				t.Error("the requested variant was not sent")
			}
		})
	}
}

func TestADeadCollectorIsReportedAndChangesNoAnswer(t *testing.T) {
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	address, _ := gateway(t, http.StatusOK, nil, twoPredictions)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.URL)
	var stdout, stderr bytes.Buffer
	code := run([]string{"-gateway", address, "wine-0001", "nope"}, &stdout, &stderr)
	if code != exitRefused || !strings.Contains(stdout.String(), "wine-0001  low") || !strings.Contains(stderr.String(), "telemetry: ") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}
