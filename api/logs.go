package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/otto-edge/otto/logs"
)

// maxLogLine bounds an entry, in bytes: JSON writes some bytes as six.
const maxLogLine = 8 << 20

func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	var q logs.Query
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&q); err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/jsonl")
		}
	}
	err := s.nodes.Logs(r.Context(), q, func(e logs.Entry) error {
		begin()
		return enc.Encode(e)
	}, func() error {
		begin()
		return http.NewResponseController(w).Flush()
	})
	if !begun {
		answerError(w, err)
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler) // else the client takes it for the end
	}
}

// Logs calls take with each entry of the logs that q asks for, and idle when there
// is none for the moment. It ends when all is read, take or idle returns an error,
// ctx ends or the control plane does.
func (c *Client) Logs(ctx context.Context, q logs.Query, take func(logs.Entry) error, idle func() error) error {
	resp, err := c.send(ctx, http.MethodPost, "/v1/logs", q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := readLine(r)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF) && !q.Follow:
			return nil
		case err != nil:
			return ErrNotRunning
		}
		var e logs.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("the control plane's answer: %w", err)
		}
		if err := take(e); err != nil {
			return err
		}
		if r.Buffered() > 0 {
			continue
		}
		if err := idle(); err != nil {
			return err
		}
	}
}

// readLine reads a line that may be longer than the buffer.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) && len(long) < maxLogLine {
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}
