package main

import (
	"errors"
	"fmt"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

var (
	errExists  = errors.New("a model of that name is loaded already")
	errRequest = errors.New("invalid request")
)

// model is one ONNX Runtime session, which may run on many goroutines at once.
type model struct {
	name, path      string
	inputs, outputs []ort.InputOutputInfo
	session         *ort.DynamicAdvancedSession
	requests        requestPool
}

// registry holds the loaded models by name.
type registry struct {
	threads int
	mu      sync.RWMutex
	models  map[string]*model
}

func newRegistry(threads int) *registry {
	return &registry{threads: threads, models: map[string]*model{}}
}

func (r *registry) get(name string) (*model, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.models[name]
	return m, ok
}

func (r *registry) list() []*model {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*model, 0, len(r.models))
	for _, m := range r.models {
		list = append(list, m)
	}
	return list
}

// load opens the ONNX file at path and adds it under name; errExists if the name is taken.
func (r *registry) load(name, path string) (*model, error) {
	if _, taken := r.get(name); taken {
		return nil, errExists
	}
	m, err := newModel(name, path, r.threads)
	if err != nil {
		return nil, fmt.Errorf("model %q from %s: %w", name, path, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.models[name]; taken {
		m.session.Destroy()
		return nil, errExists
	}
	r.models[name] = m
	return m, nil
}

func newModel(name, path string, threads int) (*model, error) {
	inputs, outputs, err := describe(path)
	if err != nil {
		return nil, err
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(threads); err != nil {
		return nil, err
	}
	requests, err := newRequestPool(inputs)
	if err != nil {
		return nil, err
	}
	session, err := ort.NewDynamicAdvancedSession(path, names(inputs), names(outputs), options)
	if err != nil {
		return nil, err
	}
	return &model{name: name, path: path, inputs: inputs, outputs: outputs, session: session,
		requests: requests}, nil
}

func names(infos []ort.InputOutputInfo) []string {
	list := make([]string, len(infos))
	for i, info := range infos {
		list[i] = info.Name
	}
	return list
}

// run infers once and returns each output as nested slices, ready for encoding/json.
func (m *model) run(req *request) (map[string]any, error) {
	inputs := make([]ort.Value, len(m.inputs))
	defer func() {
		for _, value := range inputs {
			if value != nil {
				value.Destroy()
			}
		}
	}()
	for i, info := range m.inputs {
		value, err := req.tensor(i, info)
		if err != nil {
			return nil, err
		}
		inputs[i] = value
	}
	outputs := make([]ort.Value, len(m.outputs))
	if err := m.session.Run(inputs, outputs); err != nil {
		return nil, err
	}
	result := make(map[string]any, len(outputs))
	var err error
	for i, value := range outputs {
		nested, e := nest(value)
		err = errors.Join(err, e)
		result[m.outputs[i].Name] = nested
		value.Destroy()
	}
	return result, err
}
