package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
)

func ptr[T any](x T) *T { return &x }

// unseen is a run of a suite that nobody has heard of, with text that has to be escaped.
func unseen() *record.Result {
	return &record.Result{
		Schema: record.Schema, RunID: "20261123-142501-k3f9", StartedAt: time.Date(2026, 11, 23, 14, 25, 1, 0, time.UTC), State: record.Complete, Mode: "full",
		Suite: record.Suite{Name: "mine", Version: "0.1.0", Digest: "sha256:aaaa"}, Backend: record.Backend{Name: "llama.cpp", Version: "b1"},
		Model: record.Model{Name: "a \"quoted\" \\ name\nof two lines", Quant: "Q4_K_M"}, Flags: []record.Flag{{Name: "simulated"}},
		Rows: []record.Row{
			{
				ID: "Q7", Workload: "never-seen", Key: "Q7/depth=2", Point: map[string]any{"depth": 2.0, "kind of": "x"}, Status: record.OK, Passes: 4, Requests: 8,
				Reports: []string{"ttft_ms", "decode_tps", "prefill_method", "leap_ms", "bytes_per_hop"}, PrefillHow: "estimated", CountProvenance: "A",
				TTFTms: ptr(33.5), PrefillTPS: ptr(8000.0), HitRate: ptr(0.25), Stalls: ptr(0), Relative: map[string]*float64{"decay": ptr(0.9), "lost": nil},
				CI95: map[string]record.CI{"ttft_ms": {Low: 33, High: 34}}, Flags: []record.Flag{{Name: "unstable", Evidence: "CV 6 %"}},
				Metrics: map[string]record.Metric{
					"leap_ms":       {Unit: "ms", Better: "lower", N: 2, Stats: map[string]float64{"p50": 5.25, "max": 7}},
					"leap":          {Unit: "ms", N: 1, Stats: map[string]float64{"p50": 1}},
					"hits":          {Unit: "%", N: 1, Stats: map[string]float64{"p50": 87.5}},
					"bytes_per_hop": {Unit: "B/hop", N: 1, Stats: map[string]float64{"mean": 3}},
					"bytes_total":   {Unit: "", N: 1, Stats: map[string]float64{"sum": 4}},
				},
				Reasons: record.Reasons{"decode_tps": "fewer than 16 tokens"},
			},
			{ID: "Q8", Workload: "skipped", Key: "Q8", Status: record.Skipped, Reason: "no time"},
			{ID: "Q8", Workload: "skipped", Key: "Q8", Status: record.Skipped, Reason: "twice, in a document of others"},
		},
	}
}

// sample is one of an OpenMetrics text.
type sample struct {
	labels map[string]string
	value  float64
}

// readOpenMetrics holds a text to the rules of OpenMetrics 1.0, as far as gauges go, and gives its samples by name.
func readOpenMetrics(t testing.TB, text string) map[string][]sample {
	t.Helper()
	body, ended := strings.CutSuffix(text, "# EOF\n")
	if !ended || strings.Contains(body, "# EOF") {
		t.Fatal("the text does not end in the one # EOF")
	}
	escaped, sampled := regexp.MustCompile(`\\[\\n"]`), regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? ([^ ]+)$`)
	labelled := regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\\\|\\"|\\n)*)"(,|$)`)
	name := regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	out := map[string][]sample{}
	done, heads := map[string]bool{}, map[string]bool{}
	current, said := "", map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") {
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			parts := strings.SplitN(rest, " ", 3)
			if len(parts) != 3 || !name.MatchString(parts[1]) {
				t.Fatalf("bad line %q", line)
			}
			if parts[1] != current {
				if done[parts[1]] {
					t.Fatalf("family %s stands in two places", parts[1])
				}
				current, said = parts[1], map[string]bool{}
				done[current] = true
			}
			if said[parts[0]] || len(out[current]) > 0 {
				t.Fatalf("%q comes twice, or after samples", line)
			}
			said[parts[0]] = true
			switch parts[0] {
			case "TYPE":
				if parts[2] != "gauge" {
					t.Fatalf("%q: not a gauge", line)
				}
			case "UNIT":
				if !name.MatchString(parts[2]) || !strings.HasSuffix(current, "_"+parts[2]) {
					t.Fatalf("%q: the name does not end in the unit", line)
				}
			case "HELP":
				if strings.Contains(escaped.ReplaceAllString(parts[2], ""), `\`) {
					t.Fatalf("%q: bad escape", line)
				}
			default:
				t.Fatalf("unknown line %q", line)
			}
			continue
		}
		head := sampled.FindStringSubmatch(line)
		if head == nil || head[1] != current {
			t.Fatalf("%q is no sample of %s", line, current)
		}
		if !said["TYPE"] {
			t.Fatalf("%s has no TYPE", current)
		}
		s := sample{labels: map[string]string{}}
		for rest := strings.Trim(head[2], "{}"); rest != ""; {
			m := labelled.FindStringSubmatch(rest)
			if m == nil {
				t.Fatalf("bad labels %q in %q", rest, line)
			}
			if _, twice := s.labels[m[1]]; twice || m[2] == "" {
				t.Fatalf("label %s is twice in %q, or empty", m[1], line)
			}
			s.labels[m[1]] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(m[2])
			rest = rest[len(m[0]):]
		}
		key := current + fmt.Sprint(s.labels)
		if heads[key] {
			t.Fatalf("%q is there twice", line)
		}
		heads[key] = true
		var err error
		if s.value, err = strconv.ParseFloat(head[3], 64); err != nil || math.IsNaN(s.value) || math.IsInf(s.value, 0) {
			t.Fatalf("%q: no number", line)
		}
		out[current] = append(out[current], s)
	}
	for n := range done {
		if len(out[n]) == 0 {
			t.Fatalf("family %s has no sample", n)
		}
	}
	return out
}

func TestOpenMetrics(t *testing.T) {
	r := unseen()
	var b bytes.Buffer
	if err := OpenMetrics(&b, r); err != nil {
		t.Fatal(err)
	}
	got := readOpenMetrics(t, b.String())
	value := func(name, field string) float64 {
		for _, s := range got[name] {
			if s.labels["field"] == field {
				if s.labels["row"] != "Q7/depth=2" || s.labels["point_depth"] != "2" || s.labels["point_kind_of"] != "x" || s.labels["simulated"] != "true" || s.labels["run"] != r.RunID || s.labels["model"] != r.Model.Name {
					t.Errorf("%s: %v", name, s.labels)
				}
				return s.value
			}
		}
		t.Errorf("no sample of %s with field %s", name, field)
		return math.NaN()
	}
	for _, c := range []struct {
		name, field string
		want        float64
	}{
		{"llm_speed_ttft_seconds", "ttft_ms", 0.0335}, {"llm_speed_ttft_ci95_low_seconds", "ttft_ms", 0.033}, {"llm_speed_ttft_ci95_high_seconds", "ttft_ms", 0.034},
		{"llm_speed_prefill_tokens_per_second", "prefill_tps", 8000}, {"llm_speed_prefix_cache_hit_ratio", "prefix_cache_hit_rate", 0.25}, {"llm_speed_stalls", "stalls", 0},
		{"llm_speed_decay_ratio", "decay", 0.9}, {"llm_speed_leap_seconds", "leap_ms.p50", 0.00525}, {"llm_speed_leap_seconds", "leap.p50", 0.001},
		{"llm_speed_hits_ratio", "hits.p50", 0.875}, {"llm_speed_bytes_per_hop_B_per_hop", "bytes_per_hop.mean", 3}, {"llm_speed_bytes_total_value", "bytes_total.sum", 4},
	} {
		if x := value(c.name, c.field); x != c.want {
			t.Errorf("%s of %s is %v, want %v", c.name, c.field, x, c.want)
		}
	}
	if got["llm_speed_prefill_tokens_per_second"][0].labels["estimated"] != "true" {
		t.Error("an estimate is not marked")
	}
	for name, samples := range got {
		if strings.Contains(name, "decode") || strings.Contains(name, "lost") {
			t.Errorf("%s has a sample although it is not known: %v", name, samples)
		}
	}
	if ok := got["llm_speed_row_ok"]; len(ok) != 2 || ok[0].value != 1 || ok[1].value != 0 || ok[1].labels["status"] != "skipped" {
		t.Errorf("rows: %v", ok)
	}
	if run := got["llm_speed_run"]; len(run) != 1 || run[0].labels["suite_digest"] != "sha256:aaaa" || run[0].labels["simulated"] != "true" {
		t.Errorf("run: %v", run)
	}
	if at := got["llm_speed_run_start_timestamp_seconds"]; at[0].value != float64(r.StartedAt.Unix()) {
		t.Errorf("start: %v", at)
	}
}

func TestLines(t *testing.T) {
	r := unseen()
	var b bytes.Buffer
	if err := Lines(&b, r); err != nil {
		t.Fatal(err)
	}
	var lines []Line
	for text := range strings.Lines(b.String()) {
		var l Line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	l := lines[0]
	if l.Schema != LineSchema || l.RunID != r.RunID || l.Suite.Digest != "sha256:aaaa" || !l.Simulated || l.Model.Name != r.Model.Name || !slices.Equal(l.Flags, []string{"simulated", "unstable"}) || l.MeasuredBy != "llm-speed" {
		t.Errorf("%+v", l)
	}
	if f := l.Figures["decode_tps"]; f.Value != nil || f.Reason != "fewer than 16 tokens" || f.Unit != "tok/s" {
		t.Errorf("decode_tps: %+v", f)
	}
	if f := l.Figures["ttft_ms"]; *f.Value != 33.5 || *f.Low != 33 || *f.High != 34 || f.Unit != "ms" || f.Reason != "" {
		t.Errorf("ttft_ms: %+v", f)
	}
	if f := l.Figures["prefix_cache_hit_rate"]; f.Unit != "fraction" || *f.Value != 0.25 {
		t.Errorf("hit rate: %+v", f)
	}
	if f := l.Figures["prefill_method"]; f.Value != nil || f.Text != "estimated" || f.Reason != "" {
		t.Errorf("prefill_method: %+v", f)
	}
	if f := l.Figures["leap_ms.max"]; *f.Value != 7 {
		t.Errorf("leap_ms.max: %+v", f)
	}
	if l := lines[1]; l.Status != record.Skipped || l.Reason != "no time" || len(l.Figures) != 0 {
		t.Errorf("skipped: %+v", l)
	}
}

// FuzzOpenMetrics: whatever a document says, the text is valid.
func FuzzOpenMetrics(f *testing.F) {
	f.Add("leap_ms", "ms", "p50", "a\nb", 1.5)
	f.Add("x_total", "%", "", "\"\\", math.Inf(1))
	f.Add("é", "tok/s", "a.b", "\xff", -1e-9)
	f.Add("a", "b_c", "p50", "x", 1.0)
	f.Fuzz(func(t *testing.T, name, unit, stat, text string, x float64) {
		r := unseen()
		r.Model.Name, r.Rows[0].Key, r.Rows[0].Point = text, text, map[string]any{name: text, unit: x, "depth": nil}
		r.Rows[0].Metrics[name] = record.Metric{Unit: unit, Stats: map[string]float64{stat: x, "p50": 1}}
		r.Rows[0].Metrics["a_b"] = record.Metric{Unit: "c", Stats: map[string]float64{"p50": x}}
		r.Rows[0].Reports = append(r.Rows[0].Reports, name, text)
		r.Flags = append(r.Flags, record.Flag{Name: text})
		var b bytes.Buffer
		if err := OpenMetrics(&b, r); err != nil {
			t.Fatal(err)
		}
		readOpenMetrics(t, b.String())
	})
}
