package main

import (
	"errors"
	"fmt"
	"sync"

	"goserve-peer/inference"
)

var errExists = errors.New("a model of that name is loaded already")

// registry holds the loaded models by name.
type registry struct {
	threads int
	mu      sync.RWMutex
	models  map[string]*inference.Model
}

func newRegistry(threads int) *registry {
	return &registry{threads: threads, models: map[string]*inference.Model{}}
}

func (r *registry) get(name string) (*inference.Model, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m, ok := r.models[name]
	return m, ok
}

func (r *registry) list() []*inference.Model {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*inference.Model, 0, len(r.models))
	for _, m := range r.models {
		list = append(list, m)
	}
	return list
}

// load opens the ONNX file at path and adds it under name; errExists if the name is taken.
func (r *registry) load(name, path string) (*inference.Model, error) {
	if _, taken := r.get(name); taken {
		return nil, errExists
	}
	m, err := inference.Describe(name, path)
	if err == nil {
		err = m.Load(inference.Options{Threads: r.threads})
	}
	if err != nil {
		return nil, fmt.Errorf("model %q from %s: %w", name, path, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.models[name]; taken {
		m.Close()
		return nil, errExists
	}
	r.models[name] = m
	return m, nil
}
