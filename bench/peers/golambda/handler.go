package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/aws/aws-lambda-go/events"
	ort "github.com/yalue/onnxruntime_go"

	"goserve-peer/inference"
)

type handler struct {
	model  *inference.Model
	loaded chan struct{} // closed when the model is loaded, or has `failed` to
	failed error
}

// Invoke answers a function URL's event. It takes the bytes themselves: a typed handler of aws-lambda-go would copy
// them into a decoder first.
func (h *handler) Invoke(_ context.Context, payload []byte) ([]byte, error) {
	began := time.Now()
	var event events.LambdaFunctionURLRequest
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, err
	}
	answer := h.route(&event, &phases{last: began})
	return json.Marshal(answer)
}

func (h *handler) route(event *events.LambdaFunctionURLRequest, took *phases) events.LambdaFunctionURLResponse {
	method, path := event.RequestContext.HTTP.Method, event.RawPath
	switch {
	case method == http.MethodGet && path == "/health":
		return text(http.StatusOK, map[string]string{"status": "ok"})
	case method == http.MethodPost && path == "/v1/models/"+h.model.Name+"/infer":
		return h.nested(event, took)
	case method == http.MethodPost && path == "/v2/models/"+h.model.Name+"/infer":
		return h.binary(event, took)
	}
	return failure(http.StatusNotFound, fmt.Errorf("no route %s %s", method, path))
}

// nested is GoServe's {"tensors": {name: nested}}.
func (h *handler) nested(event *events.LambdaFunctionURLRequest, took *phases) events.LambdaFunctionURLResponse {
	body, err := bodyOf(event)
	if err != nil {
		return failure(http.StatusBadRequest, err)
	}
	request := h.model.Requests.Get()
	defer h.model.Requests.Put(request)
	if err := request.Decode(body); err != nil {
		return failure(http.StatusBadRequest, err)
	}
	outputs, err := h.run(took, func() ([]ort.Value, error) { return h.model.Tensors(request) })
	if err != nil {
		return failure(statusOf(err), err)
	}
	defer inference.Destroy(outputs)
	nested, err := h.model.Nested(outputs)
	if err != nil {
		return failure(http.StatusInternalServerError, err)
	}
	answer := text(http.StatusOK, map[string]any{"model_name": h.model.Name, "outputs": nested})
	took.tell(&answer)
	return answer
}

// binary is the Open Inference Protocol's raw request: the body is one FP32 tensor, and so is the answer's.
func (h *handler) binary(event *events.LambdaFunctionURLRequest, took *phases) events.LambdaFunctionURLResponse {
	if event.Headers["inference-header-content-length"] != "0" {
		return failure(http.StatusBadRequest, errors.New("expected a raw body: Inference-Header-Content-Length: 0"))
	}
	body, err := bodyOf(event)
	if err != nil {
		return failure(http.StatusBadRequest, err)
	}
	outputs, err := h.run(took, func() ([]ort.Value, error) { return h.model.Raw(body) })
	if err != nil {
		return failure(statusOf(err), err)
	}
	defer inference.Destroy(outputs)
	described, raw, err := h.model.Binary(outputs)
	if err != nil {
		return failure(http.StatusInternalServerError, err)
	}
	header, err := json.Marshal(map[string]any{"model_name": h.model.Name, "outputs": described})
	if err != nil {
		return failure(http.StatusInternalServerError, err)
	}
	answer := events.LambdaFunctionURLResponse{
		StatusCode: http.StatusOK,
		Headers: map[string]string{"content-type": "application/octet-stream",
			"inference-header-content-length": strconv.Itoa(len(header))},
		Body:            base64.StdEncoding.EncodeToString(append(header, raw...)),
		IsBase64Encoded: true,
	}
	took.tell(&answer)
	return answer
}

// run makes the inputs' tensors, waiting for the model first, since even a tensor needs ONNX Runtime.
func (h *handler) run(took *phases, tensors func() ([]ort.Value, error)) ([]ort.Value, error) {
	took.end("decode")
	<-h.loaded
	took.end("load")
	if h.failed != nil {
		return nil, h.failed
	}
	inputs, err := tensors()
	if err != nil {
		return nil, err
	}
	defer inference.Destroy(inputs)
	outputs, err := h.model.Run(inputs)
	took.end("infer")
	return outputs, err
}

// bodyOf is the request's body, in memory that is aligned for FP32. It must not be written to.
func bodyOf(event *events.LambdaFunctionURLRequest) ([]byte, error) {
	if event.IsBase64Encoded {
		return base64.StdEncoding.DecodeString(event.Body)
	}
	return unsafe.Slice(unsafe.StringData(event.Body), len(event.Body)), nil // 3 MB that need no copy
}

func statusOf(err error) int {
	if errors.Is(err, inference.ErrRequest) {
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// text encodes first: a value that JSON cannot hold, such as NaN, becomes a 500 and not half a body.
func text(status int, value any) events.LambdaFunctionURLResponse {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the output is not a finite number"}`)
	}
	return events.LambdaFunctionURLResponse{StatusCode: status, Body: string(body),
		Headers: map[string]string{"content-type": "application/json"}}
}

func failure(status int, err error) events.LambdaFunctionURLResponse {
	return text(status, map[string]string{"error": err.Error()})
}

// phases of a request, for Server-Timing: `decode` has the event's own JSON in it, `load` is what was waited for.
type phases struct {
	last time.Time
	told []string
}

func (p *phases) end(name string) {
	now := time.Now()
	p.told = append(p.told, fmt.Sprintf("%s;dur=%.3f", name, float64(now.Sub(p.last))/1e6))
	p.last = now
}

func (p *phases) tell(answer *events.LambdaFunctionURLResponse) {
	p.end("encode")
	answer.Headers["server-timing"] = strings.Join(p.told, ", ")
}
