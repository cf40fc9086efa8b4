package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope names the code that makes spans, as a Go module path does.
const scope = "github.com/throughline/throughline/examples/go-client"

// errSomeFailed reports a valid answer in which not every id has a prediction.
var errSomeFailed = errors.New("not every id has a prediction")

// Answer is the result of either protocol, ready to print.
type Answer struct {
	Predictions []Prediction
	CacheStatus string
	TraceID     string
}

// predict asks once, within the root span of the trace. An Answer may come together with
// errSomeFailed.
func predict(ctx context.Context, options Options) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	ctx, err := withBaggage(ctx, options)
	if err != nil {
		return nil, err
	}

	ctx, span := otel.Tracer(scope).Start(ctx, "predict", trace.WithAttributes(
		attribute.String("ml.model_name", options.Model),
		attribute.Int("ml.batch_size", len(options.IDs)),
	))
	defer span.End()

	answer, err := ask(ctx, options)
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(attribute.String("error.type", errorType(err)))
		err = fmt.Errorf("%w%s", err, traceNote(span.SpanContext()))
	}
	if answer != nil && span.SpanContext().IsValid() {
		answer.TraceID = span.SpanContext().TraceID().String()
	}
	return answer, err
}

func ask(ctx context.Context, options Options) (*Answer, error) {
	gateway := NewGateway(options.Gateway)
	if options.Fresh {
		gateway.Header.Set("Cache-Control", "no-cache")
	}
	var predictions []Prediction
	var header http.Header
	var err error
	if options.OIP {
		predictions, header, err = gateway.Infer(ctx, options.Model, options.IDs)
	} else {
		predictions, header, err = gateway.Predict(ctx, options.Model, options.IDs)
	}
	if err != nil {
		return nil, err
	}
	answer := &Answer{Predictions: predictions, CacheStatus: header.Get("Cache-Status"), TraceID: traceIDOf(header)}
	for _, prediction := range predictions {
		if prediction.Error != nil {
			return answer, errSomeFailed
		}
	}
	return answer, nil
}

// withBaggage adds the requested variant and the user to the W3C baggage, which carries them to
// the gateway.
func withBaggage(ctx context.Context, options Options) (context.Context, error) {
	bag := baggage.FromContext(ctx)
	for key, value := range map[string]string{"ml.variant": options.Variant, "user.id": options.User} {
		if value == "" {
			continue
		}
		// Raw: the library percent-encodes characters that a header cannot hold.
		member, err := baggage.NewMemberRaw(key, value)
		if err != nil {
			return ctx, fmt.Errorf("baggage %s: %w", key, err)
		}
		if bag, err = bag.SetMember(member); err != nil {
			return ctx, fmt.Errorf("baggage %s: %w", key, err)
		}
	}
	return baggage.ContextWithBaggage(ctx, bag), nil
}

// traceIDOf returns the trace id of the traceresponse header, the only one known when this program
// is not traced.
func traceIDOf(header http.Header) string {
	parts := strings.Split(header.Get("traceresponse"), "-")
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

// traceNote names the trace in an error message, if it is recorded.
func traceNote(span trace.SpanContext) string {
	if !span.IsSampled() {
		return ""
	}
	return " (trace " + span.TraceID().String() + ")"
}

// errorType returns the value of error.type, one of a small set.
func errorType(err error) string {
	var problem *Problem
	switch {
	case errors.As(err, &problem) && problem.Code != "":
		return problem.Code
	case errors.As(err, &problem):
		return fmt.Sprint(problem.Status)
	case errors.Is(err, errSomeFailed):
		return "some_failed"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return "no_answer"
	}
}

func (a *Answer) print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DATA ID\tLABEL\tCONFIDENCE\tVARIANT\tCACHED\tVERSION")
	for _, p := range a.Predictions {
		if p.Error != nil {
			fmt.Fprintf(table, "%s\tfailed: %s\n", p.DataID, p.Error)
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%.6f\t%s\t%s\t%s\n", p.DataID, p.Label, p.Confidence, orDash(p.Variant), p.cached(), orDash(p.ModelVersion))
	}
	table.Flush()
	for _, line := range [][2]string{{"Cache-Status", a.CacheStatus}, {"Trace", a.TraceID}} {
		if line[1] != "" {
			fmt.Fprintf(out, "%s: %s\n", line[0], line[1])
		}
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
