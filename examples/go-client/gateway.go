package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// maxBody bounds the size of an answer: 1,000 predictions are about 400 kB.
const maxBody = 8 << 20

// Gateway is a client of one gateway. It is safe for concurrent use; keep one.
type Gateway struct {
	// Header is sent with every request.
	Header http.Header

	base   *url.URL
	client *http.Client
}

// Prediction is one entry of an answer: a prediction, or Error.
type Prediction struct {
	DataID        string      `json:"data_id"`
	Model         string      `json:"model"`
	ModelVersion  string      `json:"model_version"`
	Variant       string      `json:"variant"`
	Label         string      `json:"label"`
	Confidence    float64     `json:"confidence"`
	Probabilities []float64   `json:"probabilities"`
	Cached        *bool       `json:"cached"` // nil over the Open Inference Protocol, which does not say
	Error         *EntryError `json:"error"`
}

// EntryError says why one id has no prediction while others may have one.
type EntryError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
}

// Problem is an error answer: problem+json (RFC 9457) of /v1, or the error object of /v2.
type Problem struct {
	Status  int          `json:"status"`
	Title   string       `json:"title"`
	Detail  string       `json:"detail"`
	Code    string       `json:"code"`
	TraceID string       `json:"trace_id"`
	Errors  []Prediction `json:"errors"`
	// RetryAfter is the Retry-After header, empty if absent.
	RetryAfter string `json:"-"`
}

// NewGateway returns a client that makes a span for each request and sends trace context and
// baggage with it.
func NewGateway(base *url.URL) *Gateway {
	transport := otelhttp.NewTransport(http.DefaultTransport,
		// The conventions name a client span by its method alone; otelhttp would say "HTTP POST".
		otelhttp.WithSpanNameFormatter(func(_ string, request *http.Request) string { return request.Method }))
	return &Gateway{Header: http.Header{}, base: base, client: &http.Client{Transport: transport}}
}

// Predict asks for the predictions of ids, in their order. An answer that is an error comes as a
// *Problem.
func (g *Gateway) Predict(ctx context.Context, model string, ids []string) ([]Prediction, http.Header, error) {
	question := struct {
		Model   string   `json:"model"`
		DataIDs []string `json:"data_ids"`
	}{model, ids}
	var answer struct {
		Predictions []Prediction `json:"predictions"`
	}
	header, err := g.post(ctx, g.base.JoinPath("v1", "predictions"), question, &answer)
	if err != nil {
		return nil, header, err
	}
	if len(answer.Predictions) != len(ids) {
		return nil, header, fmt.Errorf("%d ids were asked for, %d entries answered", len(ids), len(answer.Predictions))
	}
	return answer.Predictions, header, nil
}

// post sends and reads JSON. The context bounds its time.
func (g *Gateway) post(ctx context.Context, address *url.URL, question, answer any) (http.Header, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = g.Header.Clone()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, application/problem+json")

	response, err := g.client.Do(request)
	if err != nil {
		return nil, err
	}
	// Reading to the end and closing ends the span and frees the connection.
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return response.Header, fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return response.Header, readProblem(response, content)
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return response.Header, fmt.Errorf("the answer does not have the form of the gateway's API: %w", err)
	}
	return response.Header, nil
}

// readProblem reads an error answer, which may be a proxy's own.
func readProblem(response *http.Response, content []byte) *Problem {
	var body struct {
		Problem
		Error string `json:"error"` // the Open Inference Protocol's only field
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if kind == "application/json" || strings.HasSuffix(kind, "+json") {
		// A body that cannot be read leaves the status code, which is always known.
		_ = json.Unmarshal(content, &body)
	}
	problem := body.Problem
	if problem.Detail == "" {
		problem.Detail = body.Error
	}
	problem.Status = response.StatusCode
	problem.RetryAfter = response.Header.Get("Retry-After")
	return &problem
}

func (p *Problem) Error() string {
	text := strings.Builder{}
	fmt.Fprintf(&text, "the gateway answered %d", p.Status)
	switch {
	case p.Detail != "":
		fmt.Fprintf(&text, ": %s", p.Detail)
	case p.Title != "":
		fmt.Fprintf(&text, ": %s", p.Title)
	default:
		fmt.Fprintf(&text, " %s", http.StatusText(p.Status))
	}
	if p.Code != "" {
		fmt.Fprintf(&text, " [%s]", p.Code)
	}
	for _, entry := range p.Errors {
		if entry.Error != nil {
			fmt.Fprintf(&text, "\n  %s: %s", entry.DataID, entry.Error)
		}
	}
	if p.RetryAfter != "" {
		fmt.Fprintf(&text, "; retry after %s s", p.RetryAfter)
	}
	return text.String()
}

func (e *EntryError) String() string {
	if e.Title == "" {
		return e.Code
	}
	return fmt.Sprintf("%s [%s]", e.Title, e.Code)
}

func (p Prediction) cached() string {
	if p.Cached == nil {
		return "-"
	}
	return fmt.Sprint(*p.Cached)
}
