package prometheus

import (
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// synthetic is written from vLLM's documented metric names and Prometheus' description of its text format.
const synthetic = `# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1.5e+03
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 500.0
vllm:prefix_cache_queries_total{engine="0",model_name="other"} 7
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0 1700000000000
vllm:kv_cache_usage_perc{model_name="m"} NaN
vllm:e2e_request_latency_seconds_bucket{le="+Inf",model_name="m"} 3.0 # {trace_id="a"} 0.1 1700000000.1
vllm:e2e_request_latency_seconds_bucket{le="0.3",model_name="m"} 1.0
vllm:cache_config_info{block_size="32",cache_dtype="auto",odd="a\\b\"c\nd, } e"} 1.0
process_start_time_seconds 1.7e9
`

func TestParse(t *testing.T) {
	m := Parse(synthetic)
	for _, c := range []struct {
		name   string
		labels map[string]string
		want   float64
		ok     bool
	}{
		{"vllm:prefix_cache_queries_total", nil, 2007, true},
		{"vllm:prefix_cache_queries_total", map[string]string{"model_name": "m"}, 2000, true},
		{"vllm:prefix_cache_queries_total", map[string]string{"model_name": "m", "engine": "1"}, 500, true},
		{"vllm:prefix_cache_queries_total", map[string]string{"model_name": "none"}, 0, false},
		{"vllm:prefix_cache_queries_total", map[string]string{"absent": ""}, 2007, true}, // absent and empty are one to Prometheus
		{"vllm:num_requests_running", nil, 2, true},
		{"vllm:kv_cache_usage_perc", nil, 0, false}, // NaN
		{"vllm:e2e_request_latency_seconds_bucket", map[string]string{"le": "+Inf"}, 3, true},
		{"process_start_time_seconds", nil, 1.7e9, true},
		{"prefix_cache_queries_total", nil, 0, false},
		{"", nil, 0, false},
	} {
		if got, ok := m.Sum(c.name, c.labels); got != c.want || ok != c.ok {
			t.Errorf("Sum(%q, %v) = %v, %v; want %v, %v", c.name, c.labels, got, ok, c.want, c.ok)
		}
	}
	if got := m.Label("vllm:cache_config_info", "block_size"); got != "32" {
		t.Errorf("block_size is %q", got)
	}
	if got, want := m.Label("vllm:cache_config_info", "odd"), "a\\b\"c\nd, } e"; got != want {
		t.Errorf("escaped label is %q, want %q", got, want)
	}
	if m.Label("vllm:cache_config_info", "none") != "" || m.Label("none", "block_size") != "" {
		t.Error("an absent label has a value")
	}
	if !m.HasPrefix("vllm:") || m.HasPrefix("sglang:") {
		t.Error("whose metrics they are")
	}
	want := []Sample{{"vllm:prefix_cache_queries_total", map[string]string{"engine": "0", "model_name": "other"}, 7}}
	if diff := cmp.Diff(want, m.Samples("vllm:prefix_cache_queries_total", map[string]string{"model_name": "other"})); diff != "" {
		t.Error(diff)
	}
}

func TestTokens(t *testing.T) {
	m := Parse("new_total{e=\"0\"} 3\nnew_total{e=\"1\"} 4\nold_total 9\nhalf 1.5\nneg -1\nbig 1e300\ninf +Inf\n")
	for _, c := range []struct {
		names []string
		want  int64
		ok    bool
	}{
		{[]string{"new_total", "old_total"}, 7, true},
		{[]string{"newer_total", "old_total"}, 9, true},
		{[]string{"none"}, 0, false},
		{[]string{"half"}, 0, false}, {[]string{"neg"}, 0, false}, {[]string{"big"}, 0, false},
		{[]string{"inf", "old_total"}, 0, false}, // a name that is there but says nothing is not passed over for an older one
		{nil, 0, false},
	} {
		if got, ok := m.Tokens(nil, c.names...); got != c.want || ok != c.ok {
			t.Errorf("Tokens(%v) = %d, %v; want %d, %v", c.names, got, ok, c.want, c.ok)
		}
	}
}

func TestParseOddText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		sum        float64
		ok         bool
	}{
		{"empty", "", 0, false},
		{"HTML", "<html><body>a 1</body></html>", 0, false},
		{"JSON", `{"a": 1}`, 0, false},
		{"CRLF", "a 1\r\n", 1, true},
		{"tabs and blanks", "  a\t 1 \n", 1, true},
		{"a blank before the labels", `a {x="1" , y = "2",} 3`, 3, true},
		{"no labels in braces", "a{} 1", 1, true},
		{"a series twice", "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 5\n", 5, true},
		{"value is a word", "a one\n", 0, false},
		{"no value", "a\n", 0, false},
		{"labels without end", "a{x=\"1\" 1\n", 0, false},
		{"value without quotes", "a{x=1} 1\n", 0, false},
		{"quote without end", "a{x=\"1} 1\n", 0, false},
		{"backslash at the end", `a{x="1\`, 0, false},
		{"cut inside the last line", "a 1\na{x=", 1, true},
		{"one of two is infinite", "a{x=\"1\"} 1\na{x=\"2\"} +Inf\n", 0, false},
		{"infinities of both signs", "a{x=\"1\"} -Inf\na{x=\"2\"} +Inf\n", 0, false},
		{"sum past the largest number", "a{x=\"1\"} 1.7e308\na{x=\"2\"} 1.7e308\n", 0, false},
		{"too many labels", "a{" + strings.Repeat(`x="1",`, 10) + manyLabels(80) + "} 1\n", 0, false},
		{"line too long", "a{x=\"" + strings.Repeat("y", maxLine) + "\"} 1\na 2\n", 2, true},
	} {
		if got, ok := Parse(c.text).Sum("a", nil); got != c.sum || ok != c.ok {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, got, ok, c.sum, c.ok)
		}
	}
	var none Metrics
	if _, ok := none.Sum("a", nil); ok || none.HasPrefix("") || none.Label("a", "b") != "" {
		t.Error("the zero value has metrics")
	}
}

func manyLabels(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("l" + strings.Repeat("x", i) + `="1",`)
	}
	return b.String()
}

// FuzzParse holds that no text breaks the parser, that sums are finite, and that what was read from a text is read again from
// its samples written out.
func FuzzParse(f *testing.F) {
	for _, s := range []string{synthetic, "a{x=\"\\", "a{} NaN", "a 1 2 3 # {", "{\"__name__\"} 1", "a{b=\"c\",} 1e999", "\x00{", "a.b 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := Parse(text)
		for name, samples := range m.byName {
			if len(samples) == 0 || !isName(name) {
				t.Fatalf("metric %q with %d samples", name, len(samples))
			}
			if v, ok := m.Sum(name, nil); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Fatalf("%s: sum %v", name, v)
			}
			seen := map[string]bool{}
			for _, s := range samples {
				if k := s.key(); seen[k] {
					t.Fatalf("%s: the series %v twice", name, s.Labels)
				} else {
					seen[k] = true
				}
				if got := m.Samples(name, s.Labels); len(got) == 0 || !maps.Equal(got[0].Labels, s.Labels) && len(got) == 1 {
					t.Fatalf("%s: %v is not found by its own labels", name, s.Labels)
				}
			}
		}
	})
}
