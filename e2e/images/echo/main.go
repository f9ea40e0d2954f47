// Command echo is the service that Otto's tests and demo run. It answers HTTP
// with what a test wants to know of a container (host name and environment), and
// does on request what tests need of a service: keep a file, use CPU and memory
// for a while, fail to start, end, ignore SIGTERM.
//
//	GET  /                     {"hostname": ..., "env": {...}}
//	GET  /file?path=P          the content of a file
//	PUT  /file?path=P          write the body to a file, synced
//	POST /burn?cpu=0.5&for=10s use that much of one CPU, at most for a minute
//	POST /hold?mib=64          keep that much memory, at most 1024 MiB
//	POST /delay?by=200ms       answer GET / that much later from now on, at most 10s
//	POST /exit?code=3          end at once
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	addr := flag.String("addr", ":8080", "address to listen on")
	code := flag.Int("exit", -1, "say twelve lines and end with this code at once")
	stubborn := flag.Bool("ignore-term", false, "do not end at SIGTERM")
	flag.Parse()
	if *code >= 0 {
		for i := range 12 {
			fmt.Printf("line %d: about to end with code %d\n", i+1, *code)
		}
		os.Exit(*code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *stubborn {
		ctx = context.Background()
	}
	if err := serve(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, addr string) error {
	server := &http.Server{Addr: addr, Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println("echo: listening on", addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", addr, err)
	}
	return nil
}

func handler() http.Handler {
	var held memory
	var late delay
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", late.before(describe))
	mux.HandleFunc("POST /delay", late.set)
	mux.HandleFunc("GET /file", readFile)
	mux.HandleFunc("PUT /file", writeFile)
	mux.HandleFunc("POST /burn", burn)
	mux.HandleFunc("POST /hold", held.hold)
	mux.HandleFunc("POST /exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		os.Exit(code)
	})
	return mux
}

// delay is how much later than it could the service answers, in nanoseconds.
type delay struct{ atomic.Int64 }

func (d *delay) set(w http.ResponseWriter, r *http.Request) {
	by, err := time.ParseDuration(r.FormValue("by"))
	if err != nil || by < 0 || by > 10*time.Second {
		http.Error(w, "by must be a duration of at most 10s", http.StatusBadRequest)
		return
	}
	d.Store(int64(by))
}

// before is h, later. It is no use to see whether the client has gone meanwhile: one
// that has only ended its side of the connection seems to have.
func (d *delay) before(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(d.Load()))
		h(w, r)
	}
}

func describe(w http.ResponseWriter, _ *http.Request) {
	hostname, err := os.Hostname()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	env := map[string]string{}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"hostname": hostname, "env": env})
}

func readFile(w http.ResponseWriter, r *http.Request) {
	content, err := os.ReadFile(r.FormValue("path"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	_, _ = w.Write(content)
}

func writeFile(w http.ResponseWriter, r *http.Request) {
	if err := store(r.FormValue("path"), r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func store(path string, content io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// burn answers at once. What it takes is CPU time, so that it catches up where others
// had the core.
func burn(w http.ResponseWriter, r *http.Request) {
	const slice = time.Millisecond
	share, err := strconv.ParseFloat(r.FormValue("cpu"), 64)
	if err != nil || share <= 0 || share > 1 {
		http.Error(w, "cpu must be above 0 and at most 1", http.StatusBadRequest)
		return
	}
	length, err := time.ParseDuration(r.FormValue("for"))
	if err != nil || length <= 0 || length > time.Minute {
		http.Error(w, "for must be a duration of at most 1m", http.StatusBadRequest)
		return
	}
	go func() {
		runtime.LockOSThread()
		began, before := time.Now(), threadTime()
		for time.Since(began) < length {
			if due := time.Duration(share * float64(time.Since(began))); threadTime()-before >= due {
				time.Sleep(slice)
				continue
			}
			for start := time.Now(); time.Since(start) < slice; {
			}
		}
	}()
	w.WriteHeader(http.StatusAccepted)
}

// threadTime is the CPU time that this thread has used.
func threadTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u) // it fails for other threads only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory is what POST /hold keeps: the pages of the last request.
type memory struct{ pages atomic.Pointer[[]byte] }

func (m *memory) hold(w http.ResponseWriter, r *http.Request) {
	mib, err := strconv.Atoi(r.FormValue("mib"))
	if err != nil || mib < 0 || mib > 1024 {
		http.Error(w, "mib must be 0 to 1024", http.StatusBadRequest)
		return
	}
	pages := make([]byte, mib<<20)
	for i := 0; i < len(pages); i += 4096 {
		pages[i] = 1 // a page counts only once it is written
	}
	m.pages.Store(&pages)
}
