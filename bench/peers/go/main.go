// The hit path of the gateway as a Go program of usual libraries: net/http, otelhttp, go-elasticsearch.
//
// It answers POST /v1/predictions from the documents that Throughline's gateway has stored in Elasticsearch,
// with a server span and a client span for each request, as that one does. It is what bench/paths.py
// compares with, and nothing to run otherwise: a prediction that is not stored is an error here.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/elastic/go-elasticsearch/v9"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
)

const maxBody = 1 << 20

type request struct {
	Model   string   `json:"model"`
	DataIDs []string `json:"data_ids"`
}

// document has the fields that the gateway stores.
type document struct {
	Model         string    `json:"model"`
	ModelVersion  string    `json:"model_version"`
	DataID        string    `json:"data_id"`
	Variant       string    `json:"variant"`
	Label         string    `json:"label"`
	Confidence    float32   `json:"confidence"`
	Probabilities []float32 `json:"probabilities"`
	ComputedAt    string    `json:"computed_at"`
	TraceID       string    `json:"trace_id"`
	SpanID        string    `json:"span_id"`
	RunID         string    `json:"run_id"`
}

type span struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

type prediction struct {
	DataID        string    `json:"data_id"`
	Model         string    `json:"model"`
	ModelVersion  string    `json:"model_version"`
	Variant       string    `json:"variant"`
	Label         string    `json:"label"`
	Confidence    float32   `json:"confidence"`
	Probabilities []float32 `json:"probabilities"`
	Cached        bool      `json:"cached"`
	ComputedAt    string    `json:"computed_at"`
	ComputedBy    span      `json:"computed_by"`
	RunID         string    `json:"run_id"`
}

type gateway struct {
	client  *elasticsearch.Client
	index   string
	version string
}

func main() {
	nodes := flag.String("elasticsearch", "http://127.0.0.1:9200", "address of a node")
	index := flag.String("index", "predictions", "index of the predictions")
	version := flag.String("version", "1", "version of the model")
	flag.Parse()
	if err := run(*nodes, *index, *version); err != nil {
		log.Fatal(err)
	}
}

func run(node, index, version string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	defer func() { _ = provider.Shutdown(context.WithoutCancel(ctx)) }()
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	client, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses:       []string{node},
		Instrumentation: elasticsearch.NewOpenTelemetryInstrumentation(provider, false),
		Transport:       &http.Transport{MaxIdleConnsPerHost: 64},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/predictions", otelhttp.NewHandler(gateway{client, index, version}, "POST /v1/predictions"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	log.Printf("listens on http://%s", listener.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (g gateway) ServeHTTP(writer http.ResponseWriter, r *http.Request) {
	var asked request
	if err := json.NewDecoder(http.MaxBytesReader(writer, r.Body, maxBody)).Decode(&asked); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	found, err := g.find(r.Context(), asked)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadGateway)
		return
	}
	writer.Header().Set("content-type", "application/json")
	_ = json.NewEncoder(writer).Encode(map[string][]prediction{"predictions": found})
}

// find looks all ids up with one _mget.
func (g gateway) find(ctx context.Context, asked request) ([]prediction, error) {
	ids := make([]string, len(asked.DataIDs))
	for at, id := range asked.DataIDs {
		ids[at] = asked.Model + "/" + g.version + "/" + id
	}
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return nil, err
	}
	response, err := g.client.Mget(bytes.NewReader(body), g.client.Mget.WithIndex(g.index), g.client.Mget.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.IsError() {
		return nil, errors.New(response.Status())
	}
	var answer struct {
		Docs []struct {
			Found  bool     `json:"found"`
			Source document `json:"_source"`
		} `json:"docs"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	found := make([]prediction, len(answer.Docs))
	for at, doc := range answer.Docs {
		if !doc.Found {
			return nil, errors.New("not stored: " + ids[at])
		}
		found[at] = doc.Source.prediction()
	}
	return found, nil
}

func (d document) prediction() prediction {
	return prediction{
		DataID: d.DataID, Model: d.Model, ModelVersion: d.ModelVersion, Variant: d.Variant, Label: d.Label,
		Confidence: d.Confidence, Probabilities: d.Probabilities, Cached: true, ComputedAt: d.ComputedAt,
		ComputedBy: span{d.TraceID, d.SpanID}, RunID: d.RunID,
	}
}
