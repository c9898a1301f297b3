package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func is[T any](v T) *T { return &v }

// full is a run of workloads as a suite might declare them, among them one with names that no Go code knows.
func full() *record.Result {
	finished := time.Date(2026, 3, 4, 5, 8, 0, 0, time.UTC)
	common := []string{"ttft_ms", "prefill_tps", "decode_tps", "decode_p50_latency_ms", "decode_p95_latency_ms"}
	row := func(id, name, key string, point map[string]any, ttft, prefill, decode float64) record.Row {
		return record.Row{
			ID: id, Workload: name, Key: key, Point: point, Status: record.OK, Rankable: true,
			TTFTms: &ttft, PrefillTPS: &prefill, PrefillHow: "server", DecodeTPS: &decode, ITLp50ms: is(1000 / decode), ITLp95ms: is(1013 / decode),
			PromptTokens: is(128), OutputTokens: is(256), Wallms: is(1400.0), Passes: 1, Requests: 1, CountProvenance: "B", TokensHow: "stated",
			Cold: "proved", Reports: common, Flags: []record.Flag{},
		}
	}
	w1 := row("W1", "chat-short", "W1", nil, 33.214, 8421.1, 187.41)
	w1.Passes, w1.Requests = 5, 5
	w1.CV = map[string]float64{"ttft_ms": 0.011, "decode_tps": 0.0031}
	w1.CI95 = map[string]record.CI{"ttft_ms": {Low: 32.8, High: 33.6}, "decode_tps": {Low: 186.7, High: 188.1}}
	w1.Samples = []record.Sample{
		{
			Pass: 1, Stream: 1, Raw: "raw/W1.1.json.gz#0", SendNS: 12_000_000_000, FirstByteNS: 12_001_200_000, FirstNS: 12_033_214_000, LastNS: 13_393_900_000,
			Prompt: record.Count{N: is(128), From: "B"}, Cached: record.Count{N: is(0), From: "B"}, Output: record.Count{N: is(256), From: "B"},
			Events: 256, Reads: 256, Merged: 256, FirstTokens: 1, WindowTokens: 255, WindowKnown: true, TokensHow: "stated", Finish: "length",
			TTFTms: is(33.214), DecodeTPS: is(187.41), PrefillTPS: is(8421.1), ServerPrefill: &record.ServerSpan{Tokens: 128, NS: 15_200_000},
		},
		{
			Pass: 2, Stream: 1, Raw: "raw/W1.2.json.gz#0", SendNS: 14_000_000_000, Prompt: record.Count{N: is(128), From: "B"}, Error: "deadline passed: no byte for 5 s",
			Reasons: record.Reasons{"ttft_ms": "no event bore text"}, Flags: []string{"errors"},
		},
	}
	long := row("W3", "long-context-decay", "W3/context=32768", map[string]any{"context": float64(32768)}, 5312.5, 6418, 151.8)
	long.PrefillHow = "estimated"
	long.ColdProbe = &record.Probe{Tokens: 16, TTFTms: 21.3, NoiseMs: 1.25, Cached: record.Count{N: is(0), From: "B"}}
	long.Reports = append(common[:len(common):len(common)], "prefix_cache_hit_rate", "decode_decay")
	long.Relative = map[string]*float64{"decode_decay": is(1.0)}
	long.RelativeTo = map[string]record.Base{"decode_decay": {Row: w1.Key, Metric: "decode_tps"}}
	long.Reasons = record.Reasons{"prefix_cache_hit_rate": "the server does not state cached tokens"}
	long.ITLp95ms = nil
	long.Reasons["decode_p95_latency_ms"] = "too few (12 of 20)"
	skipped := record.Row{
		ID: "W3", Workload: "long-context-decay", Key: "W3/context=131072", Point: map[string]any{"context": 131072}, Status: record.Skipped,
		Reason: "needs 131,328 tokens of context and the model has 65,536", Reports: common,
	}
	batch := row("W4", "concurrent-decode", "W4/batch=8", map[string]any{"batch": 8}, 12_812, 8011, 111.4)
	batch.AggregateTPS, batch.PerStreamTPS, batch.Fairness = is(891.3), is(111.4), is(0.98)
	batch.Relative = map[string]*float64{"scaling": is(4.756)}
	batch.RelativeTo = map[string]record.Base{"scaling": {Row: "W4/batch=1", Metric: "aggregate_tps"}}
	batch.Reports = []string{"aggregate_tps", "per_stream_tps", "scaling", "fairness", "span_decay"}
	batch.Batches = []record.Batch{{Pass: 1, Streams: []int{0, 1}, AggregateTPS: is(891.3), W0ns: 1_000_000_000, W1ns: 2_000_000_000, WindowTokens: 891.3, Parallelism: 8}}
	batch.Flags = []record.Flag{{Name: "unstable", Evidence: "CV 7.1 % of decode_tps over 3 passes"}}
	strange := row("Z9", "never-seen", "Z9/depth=3,mode=deep", map[string]any{"depth": 3, "mode": "deep"}, 4.2, 120, 9.41)
	strange.Reports = []string{"leap_ms", "wall_ms", "prefix_cache_hit_rate"}
	strange.Metrics = map[string]record.Metric{"leap_ms": {Unit: "ms", Better: "lower", N: 3, Stats: map[string]float64{"p95": 1412.4, "p50": 812, "max": 1500}, Values: [][]float64{{812, 640.25, 1500}}}}
	strange.HitRate, strange.Wallms = is(0.873), is(191_000.0)
	strange.Flags = []record.Flag{{Name: "solar_storm", Evidence: "Kp 9"}}
	failed := record.Row{ID: "Z9", Workload: "never-seen", Key: "Z9/depth=4,mode=deep", Point: map[string]any{"depth": 4, "mode": "deep"}, Status: record.Failed, Reason: "connection lost inside the stream after 12 of 256 tokens", Reports: common}
	return &record.Result{
		Schema: record.Schema, RunID: "20260304-050607-ab12", StartedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), FinishedAt: &finished,
		State: record.Complete, Mode: "full", Client: record.Client{Version: "v0.1.0", OS: "linux", Arch: "amd64"},
		Suite: record.Suite{Name: "suite-v1", Version: "1.0.0", Digest: "sha256:0123456789abcdef0123456789abcdef", Official: true}, Seed: "00000000deadbeef",
		Backend: record.Backend{Name: "llamacpp", Version: "b6123", Build: "CUDA", Attached: true, URLKind: "loopback"},
		Model:   record.Model{Ref: "m.gguf", Name: "Example 8B Instruct", Quant: "Q4_K_M", Digest: "sha256:fedcba98765432100123", SizeBytes: is(int64(4_920_000_000)), ContextMax: is(65536)},
		Fingerprint: json.RawMessage(`{"cpu": {"model": "Example 9000", "cores": 16, "limit_cpus": null}, "ram_total_bytes": 68719476736,
			"os": {"name": "linux", "distribution": "debian", "version": "13"},
			"gpus": [{"name": "Example RTX", "vram_total_bytes": 25769803776}, {"name": "Example RTX", "vram_total_bytes": 25769803776}]}`),
		Budget: record.Budget{LimitS: 110, SpentS: 98.4, Cut: []string{"W3/context=65536: one pass, not two"}},
		Rows:   []record.Row{w1, long, skipped, batch, strange, failed},
		Raw:    []record.RawFile{{Path: "raw/W1.1.json.gz", SHA256: "aa11bb22", Bytes: 12_345}, {Path: "raw/W1.2.json.gz", SHA256: "cc33", Bytes: 99}},
	}
}

// quickSim is a short run on the simulator that was cut off.
func quickSim() *record.Result {
	r := full()
	r.Mode, r.State, r.Backend, r.Suite.Official = "quick", record.Partial, record.Backend{Name: "sim", Version: "1", URLKind: "loopback"}, false
	r.Rows = r.Rows[:2]
	for i := range r.Rows {
		r.Rows[i].Flags = []record.Flag{{Name: "simulated", Evidence: "profile fast"}, {Name: "quick"}}
		r.Rows[i].Reports = append(r.Rows[i].Reports, "wall_ms")
	}
	return r
}

func TestTable(t *testing.T) {
	empty := full()
	empty.Rows, empty.Budget.Cut, empty.Flags = nil, nil, []record.Flag{{Name: "errors", Evidence: "the server never answered"}}
	for _, c := range []struct {
		name   string
		result *record.Result
		style  Style
	}{
		{"full-80.txt", full(), Style{Width: 80}},
		{"full-120.txt", full(), Style{Width: 120}},
		{"full-60.txt", full(), Style{Width: 60}},
		{"quick-80.txt", quickSim(), Style{Width: 80}},
		{"quick-colour.txt", quickSim(), Style{Width: 80, Color: true}},
		{"empty-80.txt", empty, Style{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Table(&out, c.result, c.style); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, out.Bytes())
			if !c.style.Color {
				for line := range strings.Lines(out.String()) {
					if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > c.style.width() {
						t.Errorf("line of %d columns, over %d: %s", n, c.style.width(), line)
					}
				}
			}
		})
	}
}

// The table must show the same whether the result comes from the engine or from a saved file.
func TestTableFromFile(t *testing.T) {
	text, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	var loaded record.Result
	if err := json.Unmarshal(text, &loaded); err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(Table(&a, full(), Style{}), Table(&b, &loaded, Style{})); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.String(), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestExplain(t *testing.T) {
	load := func(f record.RawFile) ([]stream.Recording, error) {
		if f.SHA256 == "cc33" {
			return nil, errors.New("the file has another digest")
		}
		rec := stream.Recording{Send: 12 * time.Second, Data: make([]byte, 1234)}
		for i := range 9 {
			rec.Reads = append(rec.Reads, stream.Read{End: i, At: 12*time.Second + 33*time.Millisecond + time.Duration(i)*5336*time.Microsecond})
		}
		return []stream.Recording{rec}, nil
	}
	for _, c := range []struct{ name, row, metric string }{
		{"explain-row.txt", "W1", ""}, {"explain-one.txt", "W1", "decode_tps"}, {"explain-batch.txt", "W4/8", ""},
		{"explain-strange.txt", "Z9/3/deep", ""}, {"explain-null.txt", "W3/32k", "prefix_cache_hit_rate"}, {"explain-estimated.txt", "W3/32k", "prefill_tps"}, {"explain-skipped.txt", "W3/context=131072", ""},
		{"explain-ratio.txt", "W3/32k", "decode_decay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Explain(&out, full(), c.row, c.metric, load, Style{Width: 100}); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, out.Bytes())
		})
	}
}

// A document without its raw files says so once, not once a file.
func TestExplainWithoutRawFiles(t *testing.T) {
	var out bytes.Buffer
	load := func(f record.RawFile) ([]stream.Recording, error) {
		return nil, fmt.Errorf("open %s: %w", f.Path, fs.ErrNotExist)
	}
	if err := Explain(&out, full(), "W1", "", load, Style{Width: 200}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "not here: raw files stay in the folder of run 20260304-050607-ab12"); n != 1 {
		t.Errorf("said %d times:\n%s", n, out.String())
	}
	if strings.Contains(out.String(), "does not exist") {
		t.Errorf("an error of its own for each file:\n%s", out.String())
	}
}

// What is null shows the reason that the document has, also where it is of the whole object or of the run.
func TestReasonsOfNulls(t *testing.T) {
	r := full()
	r.Fingerprint, r.Reasons = nil, record.Reasons{"fingerprint": "no /proc here"}
	r.Rows[0].Reports = []string{"server.queue_ms"}
	r.Rows[0].Reasons = record.Reasons{"server": "the server states no times of its own"}
	r.Rows[0].Samples[0].WindowKnown, r.Rows[0].Samples[0].Reasons = false, record.Reasons{"window_tokens": "tokens can't be put on events"}
	var table, explained bytes.Buffer
	if err := errors.Join(Table(&table, r, Style{Width: 120}), Explain(&explained, r, "W1", "", nil, Style{Width: 120})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"machine  not known: no /proc here", "not known: the server states no times of its own"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	if want := "win – tokens can't be put on events (1.1)"; !strings.Contains(explained.String(), want) {
		t.Errorf("the explanation lacks %q:\n%s", want, explained.String())
	}
}

func TestCount(t *testing.T) {
	for want, got := range map[string]string{"0 rows": Count(0, "row"), "1 row": Count(1, "row"), "2 rows": Count(2, "row"), "1 pass": Count(1, "pass"), "3 passes": Count(3, "pass"), "1,000 tokens": Count(1000, "token")} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestExplainUnknown(t *testing.T) {
	for _, c := range []struct{ row, metric, want string }{
		{"W9", "", `unknown row "W9"; this run has: W1, W3/context=32768, W3/context=131072`},
		{"W3", "", `unknown row "W3"`},
		{"W1", "speed", `unknown metric "speed"; this run has: ttft_ms,`},
	} {
		var unknown *UnknownError
		err := Explain(&bytes.Buffer{}, full(), c.row, c.metric, nil, Style{})
		if !errors.As(err, &unknown) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("Explain(%q, %q) = %v, want prefix %s", c.row, c.metric, err, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {0.0521, "0.052"}, {0.9996, "1.00"}, {5.336, "5.34"}, {9.996, "10.0"}, {33.214, "33.2"}, {187.41, "187.4"},
		{999.94, "999.9"}, {999.96, "1,000"}, {8421.1, "8,421"}, {1234567, "1,234,567"}, {-4321, "-4,321"},
	} {
		if got := Number(c.v); got != c.want {
			t.Errorf("Number(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

func TestMillis(t *testing.T) {
	for _, c := range []struct {
		ms   float64
		want string
	}{
		{33.214, "33.2 ms"}, {9999.4, "9,999 ms"}, {9999.6, "10.0 s"}, {13_620, "13.6 s"}, {119_940, "119.9 s"}, {119_960, "2 m 0 s"}, {192_000, "3 m 12 s"}, {7_260_000, "2 h 1 m"},
	} {
		if got := Millis(c.ms); got != c.want {
			t.Errorf("Millis(%v) = %q, want %q", c.ms, got, c.want)
		}
	}
}

func TestEveryFlagHasWords(t *testing.T) {
	for _, name := range strings.Fields(`cache_contaminated cold_unproved early_stop coalesced proxy_buffered client_bound prompt_drift count_provenance_D
		count_provenance_E thermal on_battery gpu_busy cpu_fallback other_traffic unstable truncated_context server_queued errors simulated quick`) {
		if FlagText(name) == FlagText("no such flag") {
			t.Errorf("flag %s has no words", name)
		}
	}
}

// A rate that stands on tokens spread over events must not look like one that stands on counted ones.
func TestSpreadTokensAreMarked(t *testing.T) {
	for i, how := range []string{"stated", "one a token", "estimated", "estimated, one a token"} {
		r := full()
		r.Rows = r.Rows[:1]
		over := 0.0625
		if r.Rows[0].TokensHow = how; i%2 == 0 {
			r.Rows[0].DecodeOver = &over
		}
		var out bytes.Buffer
		if err := Table(&out, r, Style{Width: 80}); err != nil {
			t.Fatal(err)
		}
		want := strings.HasPrefix(how, "estimated")
		if got := strings.Contains(out.String(), "≈"); got != want || strings.Contains(out.String(), "spread over the events") != want {
			t.Errorf("%s: marked %v, want %v\n%s", how, got, want, out.String())
		}
		if strings.Contains(strings.Join(strings.Fields(out.String()), " "), "decode is up to 6 % lower") != (how == "estimated") {
			t.Errorf("%s: the bound of the estimate\n%s", how, out.String())
		}
	}
}
