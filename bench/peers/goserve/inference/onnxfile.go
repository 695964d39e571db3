package inference

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	ort "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/encoding/protowire"
)

// describe reads the inputs and outputs of a model from its file, by the field numbers of onnx.proto.
// onnxruntime_go could tell them only by loading the model twice: 80 ms of CPU for a start instead of 70.
func describe(path string) (inputs, outputs []ort.InputOutputInfo, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	// Mapped: the weights are skipped over, so only a few pages of the file are ever read.
	data, err := syscall.Mmap(int(file.Fd()), 0, int(stat.Size()), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	defer syscall.Munmap(data)

	weights := map[string]bool{}
	each(data, 7, func(graph []byte) { // ModelProto.graph
		each(graph, 5, func(weight []byte) { // GraphProto.initializer
			each(weight, 8, func(name []byte) { weights[string(name)] = true })
		})
		each(graph, 11, func(value []byte) { inputs = append(inputs, valueInfo(value)) })
		each(graph, 12, func(value []byte) { outputs = append(outputs, valueInfo(value)) })
	})
	// Before IR version 4 every weight was an input as well.
	inputs = slices.DeleteFunc(inputs, func(info ort.InputOutputInfo) bool { return weights[info.Name] })
	if len(inputs) == 0 || len(outputs) == 0 {
		return nil, nil, fmt.Errorf("expected an ONNX model in %s, found no inputs or outputs", path)
	}
	return inputs, outputs, nil
}

// valueInfo decodes a ValueInfoProto; a free dimension is -1.
func valueInfo(value []byte) ort.InputOutputInfo {
	info := ort.InputOutputInfo{OrtValueType: ort.ONNXTypeTensor}
	each(value, 1, func(name []byte) { info.Name = string(name) })
	each(value, 2, func(typeProto []byte) {
		each(typeProto, 1, func(tensor []byte) {
			// TensorProto.DataType has the numbers of ONNX Runtime's own enumeration.
			info.DataType = ort.TensorElementDataType(number(tensor, 1, 0))
			each(tensor, 2, func(shape []byte) {
				each(shape, 1, func(dim []byte) { info.Dimensions = append(info.Dimensions, number(dim, 1, -1)) })
			})
		})
	})
	return info
}

// each calls visit for every length-delimited field of that number; it stops at bytes that are no message.
func each(message []byte, field protowire.Number, visit func([]byte)) {
	for len(message) > 0 {
		found, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(found, kind, message[n:])
		if size < 0 {
			return
		}
		if found == field && kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(message[n:])
			visit(content)
		}
		message = message[n+size:]
	}
}

// number returns the varint field of that number, or missing.
func number(message []byte, field protowire.Number, missing int64) int64 {
	for len(message) > 0 {
		found, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return missing
		}
		size := protowire.ConsumeFieldValue(found, kind, message[n:])
		if size < 0 {
			return missing
		}
		if found == field && kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(message[n:])
			return int64(value)
		}
		message = message[n+size:]
	}
	return missing
}
