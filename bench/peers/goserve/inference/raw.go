package inference

import (
	"fmt"
	"slices"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// Output describes one raw tensor of an answer in the Open Inference Protocol.
type Output struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype"`
	Shape      []int64        `json:"shape"`
	Parameters map[string]int `json:"parameters"`
}

// Raw is the single FP32 input of a model over little-endian bytes, without a copy; at most one dimension may be free.
// The tensor is the caller's to destroy, the bytes have to live as long.
func (m *Model) Raw(body []byte) ([]ort.Value, error) {
	if len(m.Inputs) != 1 || m.Inputs[0].DataType != ort.TensorElementDataTypeFloat {
		return nil, fmt.Errorf("%w: a raw body needs a model with one FP32 input", ErrRequest)
	}
	shape, free, known := slices.Clone(m.Inputs[0].Dimensions), -1, int64(1)
	for i, size := range shape {
		if size > 0 {
			known *= size
		} else if free < 0 {
			free = i
		} else {
			return nil, fmt.Errorf("%w: a raw body needs an input with one free dimension at most", ErrRequest)
		}
	}
	count := int64(len(body) / 4)
	if free >= 0 {
		shape[free] = count / known
		known *= shape[free]
	}
	if count == 0 || int64(len(body)) != known*4 {
		return nil, fmt.Errorf("%w: expected FP32 of shape %v, got %d bytes", ErrRequest, m.Inputs[0].Dimensions, len(body))
	}
	value, err := ort.NewTensor(shape, unsafe.Slice((*float32)(unsafe.Pointer(&body[0])), count))
	return []ort.Value{value}, err
}

// Binary describes FP32 outputs and returns their bytes, one after the other.
func (m *Model) Binary(outputs []ort.Value) ([]Output, []byte, error) {
	var described []Output
	var raw []byte
	for i, value := range outputs {
		tensor, ok := value.(*ort.Tensor[float32])
		if !ok {
			return nil, nil, fmt.Errorf("output %q: expected FP32, the model gave %T", m.Outputs[i].Name, value)
		}
		data := tensor.GetData()
		size := len(data) * 4
		described = append(described, Output{m.Outputs[i].Name, "FP32", tensor.GetShape(),
			map[string]int{"binary_data_size": size}})
		if size > 0 {
			raw = append(raw, unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), size)...)
		}
	}
	return described, raw, nil
}
