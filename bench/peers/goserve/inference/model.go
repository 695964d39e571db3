// Package inference is what the Go rivals share: a model's session in ONNX Runtime, JSON decoded straight into
// typed slices, and outputs ready to be encoded.
package inference

import (
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"
)

// ErrRequest is a request that does not fit the model.
var ErrRequest = errors.New("invalid request")

// Model is one ONNX Runtime session, which may run on many goroutines at once.
type Model struct {
	Name, Path      string
	Inputs, Outputs []ort.InputOutputInfo
	Requests        RequestPool
	session         *ort.DynamicAdvancedSession
}

// Options of a session. Threads are those of one inference, 0 for ONNX Runtime's default. A Finished graph is one
// that was optimised before and is run as it is.
type Options struct {
	Threads  int
	Finished bool
}

// Describe reads from the ONNX file what a model takes and gives, in well under a millisecond; `Load` makes its session.
func Describe(name, path string) (*Model, error) {
	inputs, outputs, err := describe(path)
	if err != nil {
		return nil, err
	}
	requests, err := newRequestPool(inputs)
	if err != nil {
		return nil, err
	}
	return &Model{Name: name, Path: path, Inputs: inputs, Outputs: outputs, Requests: requests}, nil
}

// Start makes ONNX Runtime ready: once in a process, before any `Load`.
func Start(library string) error {
	ort.SetSharedLibraryPath(library)
	return ort.InitializeEnvironment()
}

// Load makes the session, which `Run` needs.
func (m *Model) Load(settings Options) error {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(settings.Threads); err != nil {
		return err
	}
	if settings.Finished {
		if err := options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil {
			return err
		}
	}
	m.session, err = ort.NewDynamicAdvancedSession(m.Path, Names(m.Inputs), Names(m.Outputs), options)
	return err
}

// Close gives back the session.
func (m *Model) Close() error { return m.session.Destroy() }

// Names of inputs or outputs.
func Names(infos []ort.InputOutputInfo) []string {
	list := make([]string, len(infos))
	for i, info := range infos {
		list[i] = info.Name
	}
	return list
}

// Run infers once. The outputs are the caller's to destroy.
func (m *Model) Run(inputs []ort.Value) ([]ort.Value, error) {
	outputs := make([]ort.Value, len(m.Outputs))
	if err := m.session.Run(inputs, outputs); err != nil {
		return nil, err
	}
	return outputs, nil
}

// Tensors are a decoded request's inputs, in the model's order. They are the caller's to destroy.
func (m *Model) Tensors(req *Request) ([]ort.Value, error) {
	inputs := make([]ort.Value, 0, len(m.Inputs))
	for i, info := range m.Inputs {
		value, err := req.tensor(i, info)
		if err != nil {
			Destroy(inputs)
			return nil, err
		}
		inputs = append(inputs, value)
	}
	return inputs, nil
}

// Nested is each output as nested slices, ready for encoding/json, by name. onnxruntime_go has copied their numbers
// into memory of Go, so they outlive the outputs.
func (m *Model) Nested(outputs []ort.Value) (map[string]any, error) {
	result := make(map[string]any, len(outputs))
	for i, value := range outputs {
		nested, err := nest(value)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", m.Outputs[i].Name, err)
		}
		result[m.Outputs[i].Name] = nested
	}
	return result, nil
}

// Destroy gives back tensors.
func Destroy(values []ort.Value) {
	for _, value := range values {
		value.Destroy()
	}
}
