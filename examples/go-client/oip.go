package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// tensor is a tensor of the Open Inference Protocol in JSON; Datatype decides the type of Data.
type tensor struct {
	Name     string          `json:"name"`
	Datatype string          `json:"datatype"`
	Shape    []int           `json:"shape"`
	Data     json.RawMessage `json:"data"`
}

// Infer is Predict over the Open Inference Protocol V2. The gateway passes the request on to the
// variant without reading its prediction store; any server of that protocol could answer.
func (g *Gateway) Infer(ctx context.Context, model string, ids []string) ([]Prediction, http.Header, error) {
	data, err := json.Marshal(ids)
	if err != nil {
		return nil, nil, err
	}
	question := struct {
		Inputs []tensor `json:"inputs"`
	}{[]tensor{{Name: "data_id", Datatype: "BYTES", Shape: []int{len(ids)}, Data: data}}}
	var answer inference
	header, err := g.post(ctx, g.base.JoinPath("v2", "models", model, "infer"), question, &answer)
	if err != nil {
		return nil, header, err
	}
	predictions, err := answer.predictions(model, ids)
	return predictions, header, err
}

// inference is the protocol's answer.
type inference struct {
	ModelVersion string   `json:"model_version"`
	Outputs      []tensor `json:"outputs"`
}

func (i *inference) predictions(model string, ids []string) ([]Prediction, error) {
	labels, err := column[string](i.Outputs, "label", len(ids))
	if err != nil {
		return nil, err
	}
	confidences, err := column[float64](i.Outputs, "confidence", len(ids))
	if err != nil {
		return nil, err
	}
	if labels == nil || confidences == nil {
		return nil, errors.New("the answer has no output label or no output confidence")
	}
	// Only there when a row failed.
	failures, err := column[string](i.Outputs, "error", len(ids))
	if err != nil {
		return nil, err
	}

	predictions := make([]Prediction, len(ids))
	for row, id := range ids {
		predictions[row] = Prediction{
			DataID: id, Model: model, ModelVersion: i.ModelVersion, Label: labels[row], Confidence: confidences[row],
		}
		if failures != nil && failures[row] != "" {
			predictions[row].Error = &EntryError{Code: failures[row]}
		}
	}
	return predictions, nil
}

// column returns the values of an output, one per row; nil if the answer does not have it.
func column[T any](outputs []tensor, name string, rows int) ([]T, error) {
	for _, tensor := range outputs {
		if tensor.Name != name {
			continue
		}
		var values []T
		if err := json.Unmarshal(tensor.Data, &values); err != nil {
			return nil, fmt.Errorf("output %s: %w", name, err)
		}
		if len(values) != rows {
			return nil, fmt.Errorf("output %s has %d rows for %d ids", name, len(values), rows)
		}
		return values, nil
	}
	return nil, nil
}
