// Package notify tells people, or their programs, of verdicts.
package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

const (
	within  = 10 * time.Second // that a webhook or a command may take
	maxTail = 200              // bytes of a failed command's last words
)

// Send posts the verdict to the webhook and gives it to the command's standard
// input, and returns when both are done. No address is in the error: it may hold
// a secret.
func Send(ctx context.Context, to otto.Notify, verdict []byte) error {
	var errs []error
	if to.Webhook != "" {
		if err := post(ctx, to.Webhook, verdict); err != nil {
			errs = append(errs, fmt.Errorf("webhook: %w", err))
		}
	}
	if len(to.Command) > 0 {
		if err := run(ctx, to.Command, verdict); err != nil {
			errs = append(errs, fmt.Errorf("command %s: %w", to.Command[0], err))
		}
	}
	return errors.Join(errs...)
}

func post(ctx context.Context, address string, verdict []byte) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(verdict))
	if err != nil {
		return errors.New("its address is not one: correct notify.webhook")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "otto")
	client := http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("it answers with status %d", res.StatusCode)
	}
	return nil
}

func run(ctx context.Context, argv []string, verdict []byte) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(verdict)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second // for what it started and left behind with its pipes
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("not done within %s", within)
	case len(said.last) > 0:
		return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(said.last)), " "))
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct{ last []byte }

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.last = append(t.last, b...)
	if n := len(t.last) - maxTail; n > 0 {
		t.last = append([]byte(nil), t.last[n:]...)
	}
	return len(b), nil
}
