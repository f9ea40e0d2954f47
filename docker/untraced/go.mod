// This stands in for the module of that name: otelhttp.go says why.
module go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp

go 1.24

require go.opentelemetry.io/otel/trace v1.35.0
