package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// wines is what a feature store answers by Feast's protocol: the ids first, then a column for each feature.
type wines struct {
	Results []struct {
		Values []json.RawMessage `json:"values"`
	} `json:"results"`
}

// tensor is an input or an output of the Open Inference Protocol.
type tensor struct {
	Name     string          `json:"name"`
	Shape    []int           `json:"shape"`
	Datatype string          `json:"datatype"`
	Data     json.RawMessage `json:"data"`
}

// compute asks the feature store for all ids and the model service for their predictions, and stores these with one _bulk.
func (g gateway) compute(ctx context.Context, asked request) ([]prediction, error) {
	rows, err := g.features(ctx, asked.DataIDs)
	if err != nil {
		return nil, err
	}
	computed, err := g.infer(ctx, asked, rows)
	if err != nil {
		return nil, err
	}
	if err := g.store(ctx, computed); err != nil {
		return nil, err
	}
	predictions := make([]prediction, len(computed))
	for at, document := range computed {
		predictions[at] = document.prediction()
		predictions[at].Cached = false
	}
	return predictions, nil
}

// features has the values of all ids, a row after the other.
func (g gateway) features(ctx context.Context, ids []string) ([]json.RawMessage, error) {
	var found wines
	body := map[string]any{"features": g.names, "entities": map[string][]string{"wine_id": ids}}
	if err := g.post(ctx, g.featureStore+"/get-online-features", body, &found); err != nil {
		return nil, err
	}
	if len(found.Results) != len(g.names)+1 {
		return nil, fmt.Errorf("%d columns of features instead of %d", len(found.Results), len(g.names)+1)
	}
	rows := make([]json.RawMessage, 0, len(ids)*len(g.names))
	for at := range ids {
		for _, column := range found.Results[1:] {
			if at >= len(column.Values) {
				return nil, errors.New("a column of features is too short")
			}
			rows = append(rows, column.Values[at])
		}
	}
	return rows, nil
}

// infer has a document for each row of features.
func (g gateway) infer(ctx context.Context, asked request, rows []json.RawMessage) ([]document, error) {
	data, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Outputs []tensor `json:"outputs"`
	}
	input := tensor{Name: "features", Shape: []int{len(asked.DataIDs), len(g.names)}, Datatype: "FP32", Data: data}
	url := g.modelService + "/v2/models/" + asked.Model + "/infer"
	if err := g.post(ctx, url, map[string][]tensor{"inputs": {input}}, &answer); err != nil {
		return nil, err
	}
	var labels []string
	var confidence, probabilities []float32
	columns := map[string]any{"label": &labels, "confidence": &confidence, "probabilities": &probabilities}
	for _, output := range answer.Outputs {
		if column := columns[output.Name]; column != nil {
			if err := json.Unmarshal(output.Data, column); err != nil {
				return nil, err
			}
		}
	}
	count := len(asked.DataIDs)
	if len(labels) != count || len(confidence) != count || len(probabilities)%count != 0 {
		return nil, errors.New("the model service answers with another number of rows")
	}
	span := trace.SpanContextFromContext(ctx)
	classes := len(probabilities) / count
	computed := make([]document, count)
	for at, id := range asked.DataIDs {
		computed[at] = document{
			Model: asked.Model, ModelVersion: g.version, DataID: id, Variant: "primary", Label: labels[at],
			Confidence: confidence[at], Probabilities: probabilities[at*classes : (at+1)*classes],
			ComputedAt: time.Now().UTC().Format(time.RFC3339Nano), TraceID: span.TraceID().String(), SpanID: span.SpanID().String(),
		}
	}
	return computed, nil
}

// store writes all documents with one _bulk, and returns when they are stored.
func (g gateway) store(ctx context.Context, documents []document) error {
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	for _, document := range documents {
		action := map[string]map[string]string{"index": {"_id": g.key(document.Model, document.DataID)}}
		if err := errors.Join(lines.Encode(action), lines.Encode(document)); err != nil {
			return err
		}
	}
	response, err := g.client.Bulk(&body, g.client.Bulk.WithIndex(g.index), g.client.Bulk.WithContext(ctx))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Errors bool `json:"errors"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if response.IsError() || answer.Errors {
		return errors.New("not stored: " + response.Status())
	}
	return nil
}

// post sends a JSON body and reads a JSON answer.
func (g gateway) post(ctx context.Context, url string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	response, err := g.services.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}
