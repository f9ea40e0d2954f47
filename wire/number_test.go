package wire

import (
	"math"
	"testing"

	"github.com/otto-edge/otto"
)

func TestNumbersOfApplications(t *testing.T) {
	for _, tt := range []struct {
		payload, metric string
		want            float64
	}{
		{"42", "mqtt:a", 42},
		{" -1.5e3\n", "mqtt:a", -1500},
		{`"21.5"`, "mqtt:a", 21.5},
		{`{"a":{"b":[{"c":7},{"c":8}]}}`, "mqtt:a#.a.b[1].c", 8},
		{`[1,[2,3]]`, "mqtt:a#[1][0]", 2},
	} {
		m, err := otto.ParseMQTTMetric(tt.metric)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeNumber([]byte(tt.payload), m.Path); err != nil || got != tt.want {
			t.Errorf("%s of %s: %v, %v", tt.metric, tt.payload, got, err)
		}
	}
	for payload, metric := range map[string]string{
		"": "mqtt:a", "null": "mqtt:a", "NaN": "mqtt:a", "1e999": "mqtt:a", "{}": "mqtt:a#.b", "[1]": "mqtt:a#[1]", `{"b":null}`: "mqtt:a#.b", `{"b":true}`: "mqtt:a#.b", "7": "mqtt:a#.b", `"+Inf"`: "mqtt:a",
	} {
		m, _ := otto.ParseMQTTMetric(metric)
		if got, err := DecodeNumber([]byte(payload), m.Path); err == nil {
			t.Errorf("%s of %s: %v", metric, payload, got)
		}
	}
}

func FuzzNumber(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"2"]}}`), "mqtt:x#.a.b[0]")
	f.Add([]byte("1"), "mqtt:x")
	f.Fuzz(func(t *testing.T, payload []byte, metric string) {
		m, err := otto.ParseMQTTMetric(metric)
		if err != nil {
			return
		}
		if got, err := DecodeNumber(payload, m.Path); err == nil && (math.IsNaN(got) || math.IsInf(got, 0)) {
			t.Errorf("%v of %q", got, payload)
		}
	})
}
