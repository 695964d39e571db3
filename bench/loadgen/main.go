// loadgen sends prepared HTTP requests, one or several in turns, over and over on keep-alive connections and
// prints what it measured as one JSON object. A request is a single write of bytes built beforehand, so that the
// generator's share of the CPU is little more than the kernel's copy.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type headers []string

func (h *headers) String() string { return strings.Join(*h, ", ") }

func (h *headers) Set(value string) error {
	key, rest, found := strings.Cut(value, ":")
	if !found {
		return errors.New("expected key:value")
	}
	*h = append(*h, strings.TrimSpace(key)+": "+strings.TrimSpace(rest))
	return nil
}

type files []string

func (f *files) String() string { return strings.Join(*f, ", ") }

func (f *files) Set(name string) error {
	*f = append(*f, name)
	return nil
}

// report is the output. Latencies are those of the answers with status 200, from the first byte sent to
// the last byte received, and null without any; `requests` counts all, `errors` the others by status or kind.
type report struct {
	Requests   int            `json:"requests"`
	Errors     map[string]int `json:"errors"`
	Seconds    float64        `json:"seconds"`
	RPS        float64        `json:"rps"`
	P50        *float64       `json:"p50_ms"`
	P90        *float64       `json:"p90_ms"`
	P99        *float64       `json:"p99_ms"`
	Min        *float64       `json:"min_ms"`
	Max        *float64       `json:"max_ms"`
	CPUSeconds float64        `json:"cpu_seconds"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("loadgen: ")
	target := flag.String("url", "", "http URL, with a port")
	contentType := flag.String("content-type", "application/json", "Content-Type of the body")
	clients := flag.Int("clients", 10, "connections, each with one request at a time")
	requests := flag.Int("requests", 0, "stop after this many requests in all")
	seconds := flag.Float64("seconds", 0, "send no new request after this time")
	var bodies files
	flag.Var(&bodies, "body", "file to POST; may be given again: they take turns. Without it the request is a GET")
	var extra headers
	flag.Var(&extra, "header", "key:value; may be given again")
	flag.Parse()
	if (*requests > 0) == (*seconds > 0) {
		log.Fatal("expected one of -requests and -seconds, above 0")
	}
	if len(bodies) == 0 {
		bodies = files{""}
	}
	var address string
	var messages [][]byte
	for _, body := range bodies {
		to, message, err := build(*target, body, *contentType, extra)
		if err != nil {
			log.Fatal(err)
		}
		address, messages = to, append(messages, message)
	}
	result, err := run(address, messages, *clients, *requests, time.Duration(*seconds*float64(time.Second)))
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// build returns the address to dial and the bytes of the request.
func build(target, file, contentType string, extra headers) (string, []byte, error) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return "", nil, fmt.Errorf("expected -url http://host:port/path, got %q", target)
	}
	var message bytes.Buffer
	method, body := "GET", []byte(nil)
	if file != "" {
		method = "POST"
		if body, err = os.ReadFile(file); err != nil {
			return "", nil, err
		}
	}
	fmt.Fprintf(&message, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), u.Host)
	if file != "" {
		fmt.Fprintf(&message, "Content-Type: %s\r\nContent-Length: %d\r\n", contentType, len(body))
	}
	for _, line := range extra {
		message.WriteString(line + "\r\n")
	}
	message.WriteString("\r\n")
	message.Write(body)
	return u.Host, message.Bytes(), nil
}

// run opens all connections, then starts the clock and all clients at once.
func run(address string, messages [][]byte, clients, requests int, duration time.Duration) (report, error) {
	all := make([]*client, clients)
	var turn atomic.Uint64
	next := func() []byte { return messages[(turn.Add(1)-1)%uint64(len(messages))] }
	for i := range all {
		all[i] = &client{address: address, next: next, errors: map[string]int{}}
		if err := all[i].dial(); err != nil {
			return report{}, err
		}
		defer all[i].close()
	}
	var sent atomic.Int64
	var running sync.WaitGroup
	cpu, began := cpuSeconds(), time.Now()
	more := func() bool {
		if requests > 0 {
			return sent.Add(1) <= int64(requests)
		}
		return time.Since(began) < duration
	}
	for _, c := range all {
		running.Go(func() {
			for more() {
				c.request()
			}
		})
	}
	running.Wait()
	elapsed := time.Since(began).Seconds()

	result := report{Errors: map[string]int{}, Seconds: elapsed, CPUSeconds: cpuSeconds() - cpu}
	var latencies []float64
	for _, c := range all {
		latencies = append(latencies, c.latencies...)
		for kind, n := range c.errors {
			result.Errors[kind] += n
			result.Requests += n
		}
	}
	slices.Sort(latencies)
	result.Requests += len(latencies)
	result.RPS = float64(len(latencies)) / elapsed
	result.P50, result.P90, result.P99 = rank(latencies, 0.5), rank(latencies, 0.9), rank(latencies, 0.99)
	result.Min, result.Max = rank(latencies, 0), rank(latencies, 1)
	return result, nil
}

// rank returns the nearest-rank quantile of sorted values; nil if there are none.
func rank(sorted []float64, q float64) *float64 {
	if len(sorted) == 0 {
		return nil
	}
	return &sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
