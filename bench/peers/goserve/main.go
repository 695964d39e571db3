// goserve-peer is the Go rival of the benchmarks: the HTTP API that GoServe documents, on net/http,
// encoding/json and onnxruntime_go, with one ONNX Runtime session shared by all goroutines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"goserve-peer/inference"
)

func main() {
	port := flag.Int("port", 0, "loopback port; 0 lets the kernel choose")
	library := flag.String("library", os.Getenv("ORT_LIBRARY"), "path of libonnxruntime.so ($ORT_LIBRARY)")
	name := flag.String("name", "model", "name of the model in the URL")
	path := flag.String("model", os.Getenv("MODEL_PATH"), "path of the ONNX file ($MODEL_PATH)")
	threads := flag.Int("threads", 0, "intra-op threads of ONNX Runtime; 0 is its default, one for each core")
	flag.Parse()
	if err := serve(*port, *library, *name, *path, *threads); err != nil {
		log.Fatal(err)
	}
}

// serve loads the model, then listens until SIGTERM or SIGINT; requests already accepted are answered.
func serve(port int, library, name, path string, threads int) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if library == "" || path == "" {
		return errors.New("expected -library and -model (or ORT_LIBRARY and MODEL_PATH), got an empty path")
	}
	if err := inference.Start(library); err != nil {
		return err
	}
	registry := newRegistry(threads)
	if _, err := registry.load(name, path); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newHandler(registry), ReadHeaderTimeout: 10 * time.Second}
	// The benchmark reads the port from this line; the model is loaded, so the server is ready.
	fmt.Printf("listening on %s\n", listener.Addr())

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return server.Shutdown(grace)
	}
}
