package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	ort "github.com/yalue/onnxruntime_go"

	"goserve-peer/inference"
)

// maxBody bounds a request body, in bytes.
const maxBody = 32 << 20

// The metrics that GoServe documents, by the same names and labels.
var (
	httpRequests = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "goserve_http_requests_total", Help: "HTTP requests.",
	}, []string{"method", "status", "path"})
	httpDuration = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "goserve_http_request_duration_seconds", Help: "Time of an HTTP request.",
	}, []string{"method", "path"})
	inferDuration = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "goserve_inference_duration_seconds", Help: "Time of an inference.",
	}, []string{"model_name"})
	inferErrors = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "goserve_inference_errors_total", Help: "Failed inferences.",
	}, []string{"model_name", "error_type"})
)

type handler struct{ registry *registry }

func newHandler(registry *registry) http.Handler {
	h := handler{registry}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"name": "goserve-peer", "version": "1"})
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.HandleFunc("GET /v1/models", h.list)
	mux.HandleFunc("POST /v1/models", h.load)
	mux.HandleFunc("POST /v1/models/{model}/infer", h.infer)
	mux.HandleFunc("POST /v2/models/{model}/infer", h.inferRaw)
	return measured(mux)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func measured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		sw := &statusWriter{w, http.StatusOK}
		next.ServeHTTP(sw, r)
		// The pattern, not the URL: a label must not have a value for each string that a client can think of.
		_, path, _ := strings.Cut(r.Pattern, " ")
		httpRequests.WithLabelValues(r.Method, strconv.Itoa(sw.status), path).Inc()
		httpDuration.WithLabelValues(r.Method, path).Observe(time.Since(began).Seconds())
	})
}

func (h handler) list(w http.ResponseWriter, _ *http.Request) {
	list := []map[string]any{}
	for _, m := range h.registry.list() {
		list = append(list, map[string]any{"name": m.Name, "path": m.Path,
			"input_nodes": inference.Names(m.Inputs), "output_nodes": inference.Names(m.Outputs)})
	}
	reply(w, http.StatusOK, map[string]any{"models": list})
}

func (h handler) load(w http.ResponseWriter, r *http.Request) {
	var body struct{ Name, Path string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if body.Name == "" || body.Path == "" {
		fail(w, http.StatusBadRequest, errors.New(`expected {"name": ..., "path": ...}, both not empty`))
		return
	}
	_, err := h.registry.load(body.Name, body.Path)
	switch {
	case errors.Is(err, errExists):
		fail(w, http.StatusConflict, err)
	case err != nil:
		fail(w, http.StatusBadRequest, err)
	default:
		reply(w, http.StatusCreated, map[string]string{"name": body.Name, "path": body.Path})
	}
}

func (h handler) infer(w http.ResponseWriter, r *http.Request) {
	m, ok := h.registry.get(r.PathValue("model"))
	if !ok {
		fail(w, http.StatusNotFound, fmt.Errorf("no model named %q", r.PathValue("model")))
		return
	}
	req := m.Requests.Get()
	defer m.Requests.Put(req)
	// Grown once to the size that the client states, so the body is read without copies.
	req.Body.Grow(int(min(max(r.ContentLength, 0), maxBody)) + 512)
	_, err := req.Body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = req.Decode(req.Body.Bytes())
	}
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		inferErrors.WithLabelValues(m.Name, "decode").Inc()
		fail(w, status, err)
		return
	}
	var nested map[string]any
	err = predict(m, func() ([]ort.Value, error) { return m.Tensors(req) }, func(outputs []ort.Value) error {
		nested, err = m.Nested(outputs)
		return err
	})
	if err != nil {
		failInference(w, m, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"model_name": m.Name, "outputs": nested})
}

// inferRaw is the Open Inference Protocol's raw request, which GoServe does not document: it is here to be measured.
func (h handler) inferRaw(w http.ResponseWriter, r *http.Request) {
	m, ok := h.registry.get(r.PathValue("model"))
	switch {
	case !ok:
		fail(w, http.StatusNotFound, fmt.Errorf("no model named %q", r.PathValue("model")))
		return
	case r.Header.Get("Inference-Header-Content-Length") != "0":
		fail(w, http.StatusBadRequest, errors.New("expected a raw body: Inference-Header-Content-Length: 0"))
		return
	case r.ContentLength < 0 || r.ContentLength > maxBody:
		fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("expected a Content-Length of %d at most", maxBody))
		return
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		inferErrors.WithLabelValues(m.Name, "decode").Inc()
		fail(w, http.StatusBadRequest, err)
		return
	}
	var described []inference.Output
	var raw []byte
	err := predict(m, func() ([]ort.Value, error) { return m.Raw(body) }, func(outputs []ort.Value) (err error) {
		described, raw, err = m.Binary(outputs)
		return err
	})
	if err != nil {
		failInference(w, m, err)
		return
	}
	header, err := json.Marshal(map[string]any{"model_name": m.Name, "outputs": described})
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(header)))
	w.Write(append(header, raw...))
}

// predict infers once on the tensors that `decode` makes, and hands the outputs to `encode` before they are given back.
func predict(m *inference.Model, decode func() ([]ort.Value, error), encode func([]ort.Value) error) error {
	began := time.Now()
	inputs, err := decode()
	if err != nil {
		return err
	}
	defer inference.Destroy(inputs)
	outputs, err := m.Run(inputs)
	if err != nil {
		return err
	}
	defer inference.Destroy(outputs)
	if err := encode(outputs); err != nil {
		return err
	}
	inferDuration.WithLabelValues(m.Name).Observe(time.Since(began).Seconds())
	return nil
}

func failInference(w http.ResponseWriter, m *inference.Model, err error) {
	kind, status := "run", http.StatusInternalServerError
	if errors.Is(err, inference.ErrRequest) {
		kind, status = "request", http.StatusBadRequest
	}
	inferErrors.WithLabelValues(m.Name, kind).Inc()
	fail(w, status, err)
}

func fail(w http.ResponseWriter, status int, err error) {
	reply(w, status, map[string]string{"error": err.Error()})
}

// reply encodes first: a value that JSON cannot hold, such as NaN, becomes a 500 and not half a body.
func reply(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the output is not a finite number"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}
