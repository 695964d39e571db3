// golambda is the Go rival in AWS's emulator: aws-lambda-go over the decoding and the session of goserve-peer.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"

	"goserve-peer/inference"
)

// Environment: ORT_LIBRARY, MODEL_PATH (an ONNX file) and MODEL_NAME; LOAD is "init", as AWS advises (the model is
// loaded before the first event is asked for), or "overlapped" (loaded in a goroutine, while the event arrives and is
// decoded); INTRA_OP_THREADS as for inference.Options; GRAPH is "raw" or "finished".
func main() {
	h, err := newHandler()
	if err != nil {
		log.Fatal(err)
	}
	lambda.StartHandler(h)
}

func newHandler() (*handler, error) {
	model, err := inference.Describe(os.Getenv("MODEL_NAME"), os.Getenv("MODEL_PATH"))
	if err != nil {
		return nil, err
	}
	threads, err := strconv.Atoi(os.Getenv("INTRA_OP_THREADS"))
	if err != nil {
		return nil, fmt.Errorf("INTRA_OP_THREADS: %w", err)
	}
	options := inference.Options{Threads: threads, Finished: os.Getenv("GRAPH") == "finished"}
	h := &handler{model: model, loaded: make(chan struct{})}
	load := func() {
		defer close(h.loaded)
		if h.failed = inference.Start(os.Getenv("ORT_LIBRARY")); h.failed == nil {
			h.failed = model.Load(options)
		}
	}
	switch os.Getenv("LOAD") {
	case "init":
		load()
		return h, h.failed
	case "overlapped":
		go load()
		return h, nil
	}
	return nil, errors.New(`LOAD: expected "init" or "overlapped"`)
}
