package inference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// Request is a reusable decoding target: {"tensors": {name: nested}} or the legacy {"inputs": nested}.
// `decoded` points to a struct that fits one model, so that encoding/json writes numbers straight into
// typed slices; the slices and the flat buffers keep their memory from one request to the next.
type Request struct {
	Body    bytes.Buffer
	decoded reflect.Value
	flat32  [][]float32
	flat64  [][]int64
}

// RequestPool hands out the requests of one model.
type RequestPool struct{ pool *sync.Pool }

// newRequestPool builds the struct type for a model with these inputs. It fails for an element type
// that GoServe does not document; it documents FLOAT32 and INT64.
func newRequestPool(inputs []ort.InputOutputInfo) (RequestPool, error) {
	fields := make([]reflect.StructField, len(inputs))
	for i, info := range inputs {
		element, err := elementType(info)
		if err != nil {
			return RequestPool{}, err
		}
		// A model that does not state the rank of an input has no dimensions here: keep the JSON and decode
		// it when the rank is seen.
		field := reflect.TypeFor[json.RawMessage]()
		if len(info.Dimensions) > 0 {
			field = nestedType(element, len(info.Dimensions))
		}
		fields[i] = reflect.StructField{
			Name: fmt.Sprintf("T%d", i), Type: field, Tag: reflect.StructTag(fmt.Sprintf("json:%q", info.Name))}
	}
	target := reflect.StructOf([]reflect.StructField{
		{Name: "Tensors", Type: reflect.StructOf(fields), Tag: `json:"tensors"`},
		{Name: "Inputs", Type: fields[0].Type, Tag: `json:"inputs"`},
	})
	return RequestPool{&sync.Pool{New: func() any {
		return &Request{decoded: reflect.New(target), flat32: make([][]float32, len(inputs)),
			flat64: make([][]int64, len(inputs))}
	}}}, nil
}

// Get takes a request for one decoding; `Put` takes it back.
func (p RequestPool) Get() *Request { return p.pool.Get().(*Request) }

// Put takes a request back, emptied: a JSON null leaves a number as it was, and must not show what an
// earlier client sent.
func (p RequestPool) Put(r *Request) {
	r.Body.Reset()
	top := r.decoded.Elem()
	for i := range top.Field(0).NumField() {
		wipe(top.Field(0).Field(i))
	}
	wipe(top.Field(1))
	p.pool.Put(r)
}

// wipe zeroes all numbers within the capacity of nested slices and sets the length of the outermost to 0.
func wipe(v reflect.Value) {
	full := v.Slice(0, v.Cap())
	if v.Type().Elem().Kind() == reflect.Slice {
		for i := range full.Len() {
			wipe(full.Index(i))
		}
	} else {
		full.Clear()
	}
	v.SetLen(0)
}

// Decode reads a JSON body, from Body or from elsewhere.
func (r *Request) Decode(body []byte) error { return json.Unmarshal(body, r.decoded.Interface()) }

// tensor flattens input i into its contiguous buffer and wraps that, without a copy, for ONNX Runtime.
func (r *Request) tensor(i int, info ort.InputOutputInfo) (ort.Value, error) {
	nested := r.decoded.Elem().Field(0).Field(i)
	if nested.Len() == 0 && r.decoded.Elem().Field(0).NumField() == 1 {
		nested = r.decoded.Elem().Field(1)
	}
	if nested.Len() == 0 {
		return nil, fmt.Errorf("%w: expected a tensor named %q, got none or an empty one", ErrRequest, info.Name)
	}
	element, err := elementType(info)
	if err != nil {
		return nil, err
	}
	if raw, ok := nested.Interface().(json.RawMessage); ok {
		brackets := raw[:len(raw)-len(bytes.TrimLeft(raw, "[ \t\r\n"))]
		target := reflect.New(nestedType(element, max(1, bytes.Count(brackets, []byte("[")))))
		if err := json.Unmarshal(raw, target.Interface()); err != nil {
			return nil, fmt.Errorf("%w: tensor %q: %w", ErrRequest, info.Name, err)
		}
		nested = target.Elem()
	}
	if element.Kind() == reflect.Int64 {
		return wrap(nested, info, &r.flat64[i])
	}
	return wrap(nested, info, &r.flat32[i])
}

func wrap[T float32 | int64](nested reflect.Value, info ort.InputOutputInfo, buffer *[]T) (ort.Value, error) {
	var shape ort.Shape
	for v := nested; v.Kind() == reflect.Slice; v = v.Index(0) {
		if v.Len() == 0 {
			return nil, fmt.Errorf("%w: tensor %q has an empty dimension", ErrRequest, info.Name)
		}
		shape = append(shape, int64(v.Len()))
	}
	for i, expected := range info.Dimensions {
		if expected > 0 && expected != shape[i] {
			return nil, fmt.Errorf("%w: tensor %q: expected shape %v, got %v", ErrRequest, info.Name, info.Dimensions, shape)
		}
	}
	flat, ok := flatten((*buffer)[:0], nested, shape)
	if !ok {
		return nil, fmt.Errorf("%w: tensor %q is ragged: expected lists of equal length at each depth", ErrRequest, info.Name)
	}
	*buffer = flat
	return ort.NewTensor(shape, flat)
}

// flatten appends the numbers of nested slices in row-major order; false if a slice differs from shape.
func flatten[T float32 | int64](flat []T, nested reflect.Value, shape ort.Shape) ([]T, bool) {
	if int64(nested.Len()) != shape[0] {
		return flat, false
	}
	if row, ok := nested.Interface().([]T); ok {
		return append(flat, row...), true
	}
	ok := true
	for i := 0; i < nested.Len() && ok; i++ {
		flat, ok = flatten(flat, nested.Index(i), shape[1:])
	}
	return flat, ok
}

// nest turns an output into nested slices that share its memory.
func nest(value ort.Value) (any, error) {
	switch tensor := value.(type) {
	case *ort.Tensor[float32]:
		return split(tensor.GetData(), tensor.GetShape()), nil
	case *ort.Tensor[int64]:
		return split(tensor.GetData(), tensor.GetShape()), nil
	}
	return nil, fmt.Errorf("expected a FLOAT32 or INT64 output, the model gave %T", value)
}

func split[T float32 | int64](flat []T, shape ort.Shape) any {
	if len(shape) <= 1 {
		return flat
	}
	rows := make([]any, shape[0])
	size := len(flat) / max(1, len(rows))
	for i := range rows {
		rows[i] = split(flat[i*size:(i+1)*size], shape[1:])
	}
	return rows
}

func elementType(info ort.InputOutputInfo) (reflect.Type, error) {
	switch info.DataType {
	case ort.TensorElementDataTypeFloat:
		return reflect.TypeFor[float32](), nil
	case ort.TensorElementDataTypeInt64:
		return reflect.TypeFor[int64](), nil
	}
	return nil, fmt.Errorf("expected a FLOAT32 or INT64 input, the model has %s", info.String())
}

func nestedType(element reflect.Type, rank int) reflect.Type {
	for range rank {
		element = reflect.SliceOf(element)
	}
	return element
}
