// Package otelhttp stands in for OpenTelemetry's package of that name, which the Docker
// client wraps around each request: nobody collects traces of an agent, and the package
// and what it needs are four hundred kilobytes of each agent's memory. It has what the
// client uses, and traces nothing. See docs/adr/0027-a-small-agent.md.
package otelhttp

import (
	"net/http"

	"go.opentelemetry.io/otel/trace"
)

// Option is of no effect.
type Option struct{}

// NewTransport returns base.
func NewTransport(base http.RoundTripper, _ ...Option) http.RoundTripper { return base }

// WithSpanNameFormatter is of no effect.
func WithSpanNameFormatter(func(operation string, r *http.Request) string) Option { return Option{} }

// WithTracerProvider is of no effect.
func WithTracerProvider(trace.TracerProvider) Option { return Option{} }
