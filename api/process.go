package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
)

// Process is a control plane as a process of its machine.
type Process struct {
	Pid        int              `json:"pid"`
	Dir        string           `json:"dir"` // of its state, as it was at its start
	Goroutines int              `json:"goroutines"`
	Memory     runtime.MemStats `json:"memory"`
}

func (s *Server) process(w http.ResponseWriter, _ *http.Request) {
	p := Process{Pid: os.Getpid(), Dir: s.dir, Goroutines: runtime.NumGoroutine()}
	runtime.ReadMemStats(&p.Memory)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(p)
}

func (s *Server) goroutines(w http.ResponseWriter, _ *http.Request) {
	const withWaitingTimes = 2
	_ = pprof.Lookup("goroutine").WriteTo(w, withWaitingTimes)
}

// Process returns what kind of process the control plane is.
func (c *Client) Process(ctx context.Context) (Process, error) {
	var p Process
	return p, c.do(ctx, http.MethodGet, "/v1/process", nil, &p)
}

// Goroutines returns what each goroutine of the control plane does.
func (c *Client) Goroutines(ctx context.Context) ([]byte, error) {
	const most = 8 << 20
	resp, err := c.send(ctx, http.MethodGet, "/v1/goroutines", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, most))
}
