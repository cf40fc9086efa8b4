package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"
)

// received is the last request that a test's gateway received.
type received struct {
	path   string
	header http.Header
	body   map[string]any
}

// gateway starts a server that answers every request in the same way and keeps the last one.
func gateway(t *testing.T, status int, header http.Header, body string) (address string, last *received) {
	t.Helper()
	last = &received{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		*last = received{path: r.URL.Path, header: r.Header.Clone()}
		if err := json.Unmarshal(content, &last.body); err != nil {
			t.Errorf("the request is not JSON: %v", err)
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL, last
}

// command runs the program without exporting anything.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("OTEL_SDK_DISABLED", "true")
	var out, problems bytes.Buffer
	code = run(args, &out, &problems)
	return code, out.String(), problems.String()
}

// recorded gives the program a tracer provider that records ended spans.
func recorded(t *testing.T) *tracetest.SpanRecorder {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(recorder)))
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	return recorder
}

const twoPredictions = `{"predictions":[
	{"data_id":"wine-0001","model":"wine_quality","model_version":"3","variant":"canary","label":"low","confidence":0.75,
	 "probabilities":[0.75,0.25],"cached":true,"computed_at":"2026-11-21T06:00:00Z","computed_by":null,"run_id":null},
	{"data_id":"nope","model":"wine_quality","error":{"status":404,"code":"unknown_entity","title":"No entity has this data_id"}}]}`

func TestPredictionsAndFailedEntriesArePrinted(t *testing.T) {
	header := http.Header{
		"Cache-Status":  {"throughline; hit"},
		"Traceresponse": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	address, last := gateway(t, http.StatusOK, header, twoPredictions)

	code, stdout, stderr := command(t, "-gateway", address, "-ids", "wine-0001", "nope")

	if code != exitRefused || !strings.Contains(stderr, "not every id has a prediction") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	for _, line := range []string{
		"wine-0001  low", "0.750000    canary   true    3", "nope       failed: No entity has this data_id [unknown_entity]",
		"Cache-Status: throughline; hit", "Trace: 0af7651916cd43dd8448eb211c80319c",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("no %q in\n%s", line, stdout)
		}
	}
	if last.path != "/v1/predictions" || last.body["model"] != "wine_quality" {
		t.Errorf("asked %s %v", last.path, last.body)
	}
}

func TestTraceContextAndBaggageAreSent(t *testing.T) {
	spans := recorded(t)
	body := strings.Split(twoPredictions, ",\n\t{\"data_id\":\"nope\"")[0] + "]}"
	address, last := gateway(t, http.StatusOK, nil, body)

	code, stdout, stderr := command(t, "-gateway", address, "-variant", "canary", "-user", "Ünal x", "-fresh", "wine-0001")

	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	client, root := spans.Ended()[0], spans.Ended()[1]
	if root.Name() != "predict" || root.Parent().IsValid() || root.SpanKind() != api.SpanKindInternal {
		t.Errorf("root is %s %s with parent %v", root.SpanKind(), root.Name(), root.Parent().SpanID())
	}
	if client.Name() != "POST" || client.SpanKind() != api.SpanKindClient || client.Parent().SpanID() != root.SpanContext().SpanID() {
		t.Errorf("below it is %s %s", client.SpanKind(), client.Name())
	}
	context := client.SpanContext()
	// The flags may name more than "sampled" (Trace Context, level 2).
	if want := "00-" + context.TraceID().String() + "-" + context.SpanID().String() + "-"; !strings.HasPrefix(last.header.Get("Traceparent"), want) {
		t.Errorf("traceparent is %q", last.header.Get("Traceparent"))
	}
	for _, member := range []string{"ml.variant=canary", "user.id=%C3%9Cnal%20x"} {
		if !strings.Contains(last.header.Get("Baggage"), member) {
			t.Errorf("no %s in the baggage %q", member, last.header.Get("Baggage"))
		}
	}
	if last.header.Get("Cache-Control") != "no-cache" {
		t.Error("-fresh did not ask for no-cache")
	}
	if !strings.Contains(stdout, "Trace: "+context.TraceID().String()) {
		t.Errorf("the trace id is not printed: %s", stdout)
	}
}

func TestErrorAnswers(t *testing.T) {
	problem := http.Header{"Content-Type": {"application/problem+json"}, "Retry-After": {"7"}}
	for name, test := range map[string]struct {
		status  int
		header  http.Header
		body    string
		message string
		kind    string
	}{
		"problem+json": {
			503, problem, `{"type":"urn:x","title":"Away","status":503,"detail":"the model is down","code":"model_unavailable"}`,
			"the gateway answered 503: the model is down [model_unavailable]; retry after 7 s", "model_unavailable",
		},
		"problem+json with entries": {
			404, problem, `{"title":"Nobody","status":404,"code":"unknown_entity","errors":[{"data_id":"x","error":{"code":"unknown_entity"}}]}`,
			"the gateway answered 404: Nobody [unknown_entity]\n  x: unknown_entity", "unknown_entity",
		},
		"the protocol's error": {
			400, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, `{"error":"bad tensor"}`,
			"the gateway answered 400: bad tensor", "400",
		},
		"a proxy's page":   {502, http.Header{"Content-Type": {"text/html"}}, `<h1>Bad gateway</h1>`, "the gateway answered 502 Bad Gateway", "502"},
		"JSON in name":     {500, problem, `<h1>`, "the gateway answered 500 Internal Server Error", "500"},
		"another's status": {502, problem, `{"status":"failed"}`, "the gateway answered 502 Bad Gateway", "502"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := recorded(t)
			address, _ := gateway(t, test.status, test.header, test.body)
			code, stdout, stderr := command(t, "-gateway", address, "x")
			if code != exitRefused || stdout != "" || !strings.Contains(stderr, test.message) {
				t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			root := spans.Ended()[1]
			if root.Status().Code != codes.Error || attributeOf(root, "error.type") != test.kind {
				t.Errorf("the root span says %v %q", root.Status(), attributeOf(root, "error.type"))
			}
		})
	}
}

func TestUnreadableAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":        `<html>`,
		"too few entries": `{"predictions":[]}`,
		"another shape":   `{"predictions":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := gateway(t, http.StatusOK, nil, body)
			if code, _, stderr := command(t, "-gateway", address, "x"); code != exitNoAnswer || stderr == "" {
				t.Errorf("exit %d, stderr %q", code, stderr)
			}
		})
	}
}

func TestUnreachableGateway(t *testing.T) {
	spans := recorded(t)
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	code, _, stderr := command(t, "-gateway", server.URL, "x")
	if code != exitNoAnswer || !strings.Contains(stderr, "refused") || !strings.Contains(stderr, "trace ") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	if root := spans.Ended()[1]; attributeOf(root, "error.type") != "no_answer" {
		t.Errorf("error.type is %q", attributeOf(root, "error.type"))
	}
}

func TestTheTimeIsBounded(t *testing.T) {
	spans := recorded(t)
	gaveUp := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		close(gaveUp)
	}))
	defer server.Close()
	code, _, stderr := command(t, "-gateway", server.URL, "-timeout", "50ms", "x")
	if code != exitNoAnswer || !strings.Contains(stderr, "deadline exceeded") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	<-gaveUp
	if root := spans.Ended()[1]; attributeOf(root, "error.type") != "timeout" {
		t.Errorf("error.type is %q", attributeOf(root, "error.type"))
	}
}

func TestOpenInference(t *testing.T) {
	address, last := gateway(t, http.StatusOK, nil, `{"model_name":"wine_quality","model_version":"4","outputs":[
		{"name":"probabilities","datatype":"FP32","shape":[2,2],"data":[0.5,0.5,0,0]},
		{"name":"label","datatype":"BYTES","shape":[2],"data":["high",""]},
		{"name":"confidence","datatype":"FP32","shape":[2],"data":[0.5,0]},
		{"name":"error","datatype":"BYTES","shape":[2],"data":["","outside_max_age"]}]}`)

	code, stdout, _ := command(t, "-gateway", address, "-oip", "wine-0001", "wine-0002")

	if code != exitRefused {
		t.Errorf("exit %d", code)
	}
	for _, line := range []string{"wine-0001  high   0.500000    -        -       4", "wine-0002  failed: outside_max_age"} {
		if !strings.Contains(stdout, line) {
			t.Errorf("no %q in\n%s", line, stdout)
		}
	}
	asked, _ := json.Marshal(last.body)
	if want := `{"inputs":[{"data":["wine-0001","wine-0002"],"datatype":"BYTES","name":"data_id","shape":[2]}]}`; last.path != "/v2/models/wine_quality/infer" || string(asked) != want {
		t.Errorf("asked %s %s", last.path, asked)
	}
}

func TestUnreadableOpenInferenceAnswers(t *testing.T) {
	for name, outputs := range map[string]string{
		"no outputs":     ``,
		"no confidence":  `{"name":"label","data":["high"]}`,
		"too many rows":  `{"name":"label","data":["high","low"]},{"name":"confidence","data":[1]}`,
		"another type":   `{"name":"label","data":[1]},{"name":"confidence","data":[1]}`,
		"too few errors": `{"name":"label","data":["high"]},{"name":"confidence","data":[1]},{"name":"error","data":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := gateway(t, http.StatusOK, nil, `{"outputs":[`+outputs+`]}`)
			if code, _, stderr := command(t, "-gateway", address, "-oip", "x"); code != exitNoAnswer || stderr == "" {
				t.Errorf("exit %d, stderr %q", code, stderr)
			}
		})
	}
}

func TestInvalidCommandLines(t *testing.T) {
	for name, args := range map[string][]string{
		"no ids":           {},
		"an unknown flag":  {"-nonsense", "x"},
		"no address":       {"-gateway", "localhost:8080", "x"},
		"no model":         {"-model", "", "x"},
		"no time":          {"-timeout", "0s", "x"},
		"ids of no length": {"-ids", ", ,"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, stderr := command(t, args...); code != exitUsage || stderr == "" {
				t.Errorf("exit %d, stderr %q", code, stderr)
			}
		})
	}
	if code, _, stderr := command(t, "-help"); code != exitOK || !strings.Contains(stderr, "-variant") {
		t.Errorf("-help: exit %d, %q", code, stderr)
	}
}

func attributeOf(span trace.ReadOnlySpan, key attribute.Key) string {
	for _, kv := range span.Attributes() {
		if kv.Key == key {
			return kv.Value.AsString()
		}
	}
	return ""
}
