// The gateway as a Go program of usual libraries: net/http, otelhttp, go-elasticsearch.
//
// It answers POST /v1/predictions from the documents that Throughline's gateway has stored in Elasticsearch, and with
// Cache-Control: no-cache from a model service and a feature store. Each request has a server span, and a client span
// for each call, as there. It is what bench/paths.py compares with, and nothing to run otherwise: a prediction that is
// not stored is an error here.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
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
	client       *elasticsearch.Client
	index        string
	version      string
	services     *http.Client
	modelService string
	featureStore string
	names        []string
}

func main() {
	var g gateway
	node := flag.String("elasticsearch", "http://127.0.0.1:9200", "address of a node")
	features := flag.String("features", "", "what the feature store is asked for: wine_features:alcohol,...")
	flag.StringVar(&g.index, "index", "predictions", "index of the predictions")
	flag.StringVar(&g.version, "version", "1", "version of the model")
	flag.StringVar(&g.modelService, "model-service", "", "address of what computes a miss, by the Open Inference Protocol")
	flag.StringVar(&g.featureStore, "feature-store", "", "address of what has its features, by Feast's protocol")
	flag.Parse()
	g.names = strings.Split(*features, ",")
	if err := g.run(*node); err != nil {
		log.Fatal(err)
	}
}

func (g gateway) run(node string) error {
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
	g.client, err = elasticsearch.NewClient(elasticsearch.Config{
		Addresses:       []string{node},
		Instrumentation: elasticsearch.NewOpenTelemetryInstrumentation(provider, false),
		Transport:       &http.Transport{MaxIdleConnsPerHost: 64},
	})
	if err != nil {
		return err
	}
	g.services = &http.Client{Transport: otelhttp.NewTransport(&http.Transport{MaxIdleConnsPerHost: 64})}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/predictions", otelhttp.NewHandler(g, "POST /v1/predictions"))
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
	answer := g.find
	if r.Header.Get("cache-control") == "no-cache" {
		answer = g.compute
	}
	found, err := answer(r.Context(), asked)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadGateway)
		return
	}
	writer.Header().Set("content-type", "application/json")
	_ = json.NewEncoder(writer).Encode(map[string][]prediction{"predictions": found})
}
