package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
)

// find looks all ids up with one _mget.
func (g gateway) find(ctx context.Context, asked request) ([]prediction, error) {
	ids := make([]string, len(asked.DataIDs))
	for at, id := range asked.DataIDs {
		ids[at] = g.key(asked.Model, id)
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

// key is where the gateway stores what its primary model predicts.
func (g gateway) key(model, id string) string { return model + "/" + g.version + "/" + id }

func (d document) prediction() prediction {
	return prediction{
		DataID: d.DataID, Model: d.Model, ModelVersion: d.ModelVersion, Variant: d.Variant, Label: d.Label,
		Confidence: d.Confidence, Probabilities: d.Probabilities, Cached: true, ComputedAt: d.ComputedAt,
		ComputedBy: span{d.TraceID, d.SpanID}, RunID: d.RunID,
	}
}
