package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// A request that takes longer counts as the error "timeout".
const timeout = 60 * time.Second

// client is one connection.
type client struct {
	address   string
	next      func() []byte // the request to send
	conn      net.Conn
	reader    *bufio.Reader
	latencies []float64
	errors    map[string]int
}

func (c *client) dial() error {
	conn, err := net.DialTimeout("tcp", c.address, timeout)
	if err != nil {
		return err
	}
	c.conn, c.reader = conn, bufio.NewReaderSize(conn, 64<<10)
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// request sends once and records the latency or the kind of error. It reads while it still writes: a
// server may refuse a body before it has read it.
func (c *client) request() {
	began := time.Now()
	if c.conn == nil {
		if err := c.dial(); err != nil {
			c.errors["connect"]++
			time.Sleep(10 * time.Millisecond) // a server that is gone must not become a busy loop
			return
		}
	}
	c.conn.SetDeadline(began.Add(timeout))
	conn, message, written := c.conn, c.next(), make(chan error, 1)
	go func() {
		_, err := conn.Write(message)
		written <- err
	}()
	response, err := http.ReadResponse(c.reader, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	elapsed := time.Since(began)
	if err != nil || response.Close {
		c.close() // also ends a write that no one reads
	}
	writeError := <-written
	var timedOut net.Error
	switch {
	case errors.As(err, &timedOut) && timedOut.Timeout():
		c.errors["timeout"]++
	case err != nil:
		c.errors["connection"]++
	case response.StatusCode != http.StatusOK:
		c.errors[strconv.Itoa(response.StatusCode)]++
	default:
		c.latencies = append(c.latencies, float64(elapsed)/float64(time.Millisecond))
	}
	if writeError != nil {
		c.close()
	}
}
