package upload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// counting derives 32 bytes that are the same in every test.
func counting(salt, info string) [32]byte { return sha256.Sum256([]byte(salt + "\x00" + info)) }

const runID = "20261123-142501-k3f9"

func is[T any](v T) *T { return &v }

func counted(n int) record.Count { return record.Count{N: &n, From: "A"} }

// sample is a request that was sent at a moment, ms, and whose first and last text came so many ms later.
func sample(pass, stream int, at, first, last float64, tokens int) record.Sample {
	ns := func(ms float64) int64 { return int64(ms * 1e6) }
	return record.Sample{
		Pass: pass, Stream: stream, Raw: "raw/x.json.gz#0", SchedNS: ns(at), SendNS: ns(at), FirstByteNS: ns(at + first/2), FirstNS: ns(at + first), AnswerNS: ns(at + first), LastNS: ns(at + last), EndNS: ns(at+last) + 1,
		Prompt: counted(1000), Cached: counted(200), Output: counted(tokens), Reasoning: counted(0), Events: tokens, Reads: tokens, Merged: tokens, FirstTokens: 1, WindowTokens: float64(tokens - 1), WindowKnown: true,
		TokensHow: "stated", AskedOutput: tokens, AskedPrompt: 1000, Finish: "length", TTFTms: &first, DecodeTPS: is(1.0), PrefillTPS: is(1.0), PrefillHow: "server",
		ServerPrefill: &record.ServerSpan{Tokens: 800, NS: ns(first / 2)}, MaxGapMs: is(7.5), Stalls: is(0), Flags: []string{"coalesced"}, Inputs: &record.Inputs{Release: stream, Cold: true},
		Extra: json.RawMessage(`{"text":"EXTRA-TEXT"}`), Reasons: record.Reasons{"x": "REASON-TEXT"},
	}
}

// result is a run with a row of three passes and a row with a batch; free texts stand wherever a result has room for them.
func result() *record.Result {
	batch := []record.Sample{sample(1, 0, 1000, 100, 600, 101), sample(1, 1, 1000, 200, 700, 101)}
	for i := range batch {
		batch[i].Inputs.Release = 0
	}
	return &record.Result{
		Schema: record.Schema, RunID: runID, StartedAt: time.Date(2026, 11, 23, 14, 25, 1, 987654321, time.UTC), State: record.Complete, Mode: "full",
		Client: record.Client{Version: "1.0.0", Commit: "0123456789abcdef0123456789abcdef01234567", SHA256: strings.Repeat("1c", 32), OS: "linux", Arch: "amd64"},
		Suite:  record.Suite{Name: "suite-v1", Version: "1.0.0", Digest: "sha256:" + strings.Repeat("5d", 32), Generator: "prose/1", Official: true, Sandbox: "worker"},
		Seed:   "5eed5eed5eed5eed", FP: strings.Repeat("f9", 32),
		Backend: record.Backend{Name: "llamacpp", Version: "b6123", Build: "CUDA", URLKind: "loopback", Caps: []string{"tokenizer"}, Options: map[string]string{"n-gpu-layers": "99", "free": "see /home/anna/x"}, Metadata: map[string]string{"note": "METADATA-TEXT"}},
		Model: record.Model{Ref: "qwen3-8b-q4_k_m.gguf", Name: "Qwen3 8B", Quant: "Q4_K_M", Digest: "sha256:" + strings.Repeat("3e", 32), DigestKind: "file", SizeBytes: is(int64(5e9)), ContextMax: is(40960),
			Format: "gguf", Architecture: is("qwen3"), Parameters: is(int64(8e9)), BitsPerWeight: is(4.91), QuantTypes: map[string]int64{"Q4_K": 7}},
		Fingerprint: json.RawMessage(`{"machine":"Micro-Star MS-7D70","cpu":{"model":"AMD Ryzen 9 7950X 16-Core Processor","cores":16,"threads":32,"clock_max_mhz":5881.0},"ram_total_bytes":67300000000,
			"os":{"name":"linux","arch":"amd64","distribution":"debian","version":"12","kernel":"6.1.0-27-amd64","build":"#1 SMP root@BUILD-HOST"},"virtualization":"none",
			"gpus":[{"vendor":"nvidia","name":"NVIDIA GeForce RTX 4090","vram_total_bytes":25757220864,"driver":"590.48.01","vbios":"95.02.18.80.87","power_limit_w":447.5,"power_default_w":450}],"reasons":{"cpu.sockets":"REASON-TEXT"}}`),
		Environment: record.Environment{Before: json.RawMessage(`{"load_1m":0.53,"cpu_temperature_c":51.4,"on_battery":false,"ram_available_bytes":60000000000,"gpus":[{"vendor":"nvidia","temperature_c":43,"memory_used_bytes":123456789,"clock_reasons":["sw_power_cap"]}],"reasons":{"governor":"REASON-TEXT"}}`), Events: []string{"EVENT-TEXT"}},
		Calibration: json.RawMessage(`{"streams":4,"requests":7,"ttft_error_p99_ms":0.41,"decode_error_ratio":0.0009,"limit_ms":2,"passed":true}`),
		Network:     record.Network{RTTms: is(0.123456)}, Budget: record.Budget{LimitS: 110, SpentS: 57.123, Cut: []string{"CUT-TEXT"}},
		Flags: []record.Flag{{Name: "on_battery", Evidence: "EVIDENCE-TEXT"}}, Planned: []string{"W1", "W4/batch=2"},
		Rows: []record.Row{
			{ID: "W1", Workload: "chat-short", Key: "W1", Status: record.OK, Passes: 2, CountProvenance: "A", Cold: "proved", TokensHow: "stated", Reason: "REASON-TEXT", Flags: []record.Flag{{Name: "errors", Evidence: "EVIDENCE-TEXT"}},
				Samples: []record.Sample{sample(1, 0, 10, 50, 1050, 101), func() record.Sample {
					s := sample(2, 0, 2000, 400, 9000, 11)
					s.Error = "ERROR-TEXT"
					return s
				}(), sample(3, 0, 20000, 60, 1060, 101)}, Server: &record.Server{Definition: "DEFINITION-TEXT"}, ITLp50ms: is(10.0),
				Metrics: map[string]record.Metric{"turn_ms": {Unit: "ms", Better: "lower", Values: [][]float64{{1.5}, {2.5}}}}, Reasons: record.Reasons{"*": "REASON-TEXT"}},
			{ID: "W4", Workload: "concurrent-decode", Point: map[string]any{"batch": 2.0}, Key: "W4/batch=2", Status: record.OK, Passes: 1, CountProvenance: "A", Cold: "proved", TokensHow: "stated", Samples: batch,
				Batches: []record.Batch{{Pass: 1, Streams: []int{0, 1}, AggregateTPS: is(1.0), SpanTPS: is(1.0), W0ns: 1_200_000_000, W1ns: 1_600_000_000, WindowTokens: 160, Parallelism: 2, Reason: "REASON-TEXT"}}},
			{ID: "W2", Workload: "chat-long", Key: "W2", Status: record.Failed, Reason: "REASON-TEXT"},
		},
		Reasons: record.Reasons{"fp": "REASON-TEXT"},
	}
}

func input() Input {
	r := result()
	return Input{Result: r, Material: seal.Derived(counting, runID), FP: r.FP}
}

func anonymousInput() Input {
	in := input()
	fp := counting(runID, "anonymous fp")
	in.Anonymous, in.Material, in.FP = true, seal.Unlinkable(counting, runID), hex.EncodeToString(fp[:])
	return in
}

func prepared(t testing.TB, in Input) (Document, *Body) {
	t.Helper()
	d, err := Prepare(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Body()
	if err != nil {
		t.Fatal(err)
	}
	return d, b
}

// TestGolden holds the form of a document: another form would give another id to what was sent already.
func TestGolden(t *testing.T) {
	for name, in := range map[string]Input{"named": input(), "anonymous": anonymousInput()} {
		d, b := prepared(t, in)
		shown, err := json.MarshalIndent(b, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Appendf(nil, "%s%s\n%s\n%s\n", d.Encode(), d.ID(), d.SHA256(), shown)
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), string(got)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// The same run gives the same document and id, whenever it is prepared; one that went on gives another.
func TestIdempotent(t *testing.T) {
	for name, make := range map[string]func() Input{"named": input, "anonymous": anonymousInput} {
		a, _ := prepared(t, make())
		b, _ := prepared(t, make())
		if a.ID() != b.ID() || !bytes.Equal(a.Encode(), b.Encode()) {
			t.Errorf("%s: twice prepared it is two", name)
		}
		more := make()
		more.Result.State = record.Partial
		if c, _ := prepared(t, more); c.ID() == a.ID() {
			t.Errorf("%s: another state has the same id", name)
		}
	}
}

// No text that a result has room for is in a document, but names.
func TestNoFreeText(t *testing.T) {
	for _, in := range []Input{input(), anonymousInput()} {
		d, b := prepared(t, in)
		for _, mark := range []string{"-TEXT", "BUILD-HOST", "/home", "anna", "raw/"} {
			if at := bytes.Index(d.Envelope.Payload, []byte(mark)); at >= 0 {
				t.Errorf("%q is in it: %s", mark, d.Envelope.Payload[max(0, at-60):at+20])
			}
		}
		if diff := cmp.Diff([]string{"backend.options"}, b.LeftOut); diff != "" {
			t.Errorf("left out: -want +got:\n%s", diff)
		}
	}
}

// TestFigures computes a row's figures from its document alone; the numbers are worked out by hand.
func TestFigures(t *testing.T) {
	_, b := prepared(t, input())
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got-want) > 1e-9*want {
			t.Errorf("%s: %v, want %v", what, value0(got), want)
		}
	}
	f := b.Rows[0].Figures() // passes 1 and 3; the failed one is in no figure
	near("TTFT", f.TTFTms, 55)
	near("decode", f.DecodeTPS, 100)
	near("prefill", f.PrefillTPS, (800/0.025+800/0.030)/2)
	near("wall", f.Wallms, 1055)
	near("hits", f.HitRate, 0.2)
	if f.AggregateTPS != nil {
		t.Error("an aggregate without a batch")
	}
	f = b.Rows[1].Figures()
	near("aggregate", f.AggregateTPS, 400)
	near("span", f.SpanTPS, 202/0.7)
	near("wall of the batch", f.Wallms, 700)
	if f = b.Rows[2].Figures(); f.TTFTms != nil || f.Wallms != nil {
		t.Errorf("figures of nothing: %+v", f)
	}
}

func value0(x *float64) any {
	if x == nil {
		return nil
	}
	return *x
}

// What makes one document tell of another: keys, names and numbers of a run or an installation.
var telling = regexp.MustCompile(`[0-9a-f]{16,}|[0-9]{8}-[0-9]{6}`)

// TestUnlinkable: a run's anonymous document has no word in common with its named one, or with anonymous ones of other runs,
// that thousands of other documents would not have too.
func TestUnlinkable(t *testing.T) {
	words := func(d Document) map[string]bool {
		all := map[string]bool{}
		for _, w := range telling.FindAllString(string(d.Envelope.Payload)+" "+d.FP+" "+d.FPSalt+" "+d.ID(), -1) {
			all[w] = true
		}
		return all
	}
	named, _ := prepared(t, input())
	anon, b := prepared(t, anonymousInput())
	other := anonymousInput()
	other.Result.RunID, other.Material = "20261124-090000-zzzz", seal.Unlinkable(counting, "20261124-090000-zzzz")
	fp := counting("20261124-090000-zzzz", "anonymous fp")
	other.FP = hex.EncodeToString(fp[:])
	second, _ := prepared(t, other)
	same := map[string]bool{strings.Repeat("5d", 32): true, strings.Repeat("3e", 32): true} // digests of suite and model: everybody's
	for name, pair := range map[string][2]Document{"its named twin": {named, anon}, "another run": {second, anon}} {
		theirs := words(pair[0])
		for w := range words(pair[1]) {
			if theirs[w] && !same[w] {
				t.Errorf("%s has %s too", name, w)
			}
		}
	}
	if b.RunID != "" || b.Seed != "" || b.StartedAt != "2026-11-23" || b.Client.Commit != "" || b.Client.SHA256 != "" || b.Model.Ref != "" {
		t.Errorf("%+v", b)
	}
	h := b.Hardware
	if h.Machine != "" || h.Kernel != "" || h.Distribution != "" || h.CPU.ClockMax != nil || h.GPUs[0].VBIOS != "" || *h.GPUs[0].PowerLimit != 450_000 || *h.RAMGiB != 63 {
		t.Errorf("%+v", h)
	}
	if b.Before.RAMAvailable != nil || *b.Before.CPUTemp != 50_000 || *b.Before.Load != 1_000 || b.Before.GPUs[0].MemoryUsed != nil {
		t.Errorf("%+v", b.Before)
	}
	// Times have four digits.
	if got := *b.Network.RTT; got != 123_500 {
		t.Errorf("RTT %d", got)
	}
}

// A run with more requests than fit keeps the first passes of every row, and says how many.
func TestManyPasses(t *testing.T) {
	in := input()
	row := &in.Result.Rows[0]
	row.Samples = nil
	for pass := 1; pass <= 4000; pass++ {
		row.Samples = append(row.Samples, sample(pass, 0, float64(pass)*2000, 50+float64(pass%7), 1050, 101))
	}
	row.Passes = 4000
	d, b := prepared(t, in)
	if n := len(d.Envelope.Payload); n > maxBody || n < maxBody*9/10 {
		t.Errorf("%d bytes", n)
	}
	if r := b.Rows[0]; r.Passes != 4000 || r.Sent >= 4000 || r.Sent != int64(len(r.Samples.Pass)) || r.Sent < 500 || b.Rows[1].Sent != 1 {
		t.Errorf("%d of %d passes, %d requests", r.Sent, r.Passes, len(r.Samples.Pass))
	}
	for i := range row.Samples {
		row.Samples[i].Pass = 1
	}
	if _, err := Prepare(in); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one pass that does not fit: %v", err)
	}
	for i := range in.Result.Rows {
		in.Result.Rows[i].Status = record.Skipped
	}
	if _, err := Prepare(in); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing measured: %v", err)
	}
}

// Numbers that no JSON of ours can hold are unknown, and no document is refused for them.
func TestOddNumbers(t *testing.T) {
	in := input()
	s := &in.Result.Rows[0].Samples[0]
	s.WindowTokens, s.FirstTokens, s.ReadLagMs, s.MaxGapMs = math.NaN(), math.Inf(1), 1e300, is(math.NaN())
	s.LastNS, s.FirstNS, s.Events, s.Prompt = -5, math.MaxInt64, -1, counted(-3)
	in.Result.Model.Parameters, in.Result.Model.SizeBytes = is(int64(math.MaxInt64)), is(int64(-1))
	in.Result.Rows[0].Metrics = map[string]record.Metric{"x": {Values: [][]float64{{math.Inf(-1), 1e200, 2}}}}
	_, b := prepared(t, in)
	c := b.Rows[0].Samples
	if c.WindowTokens[0] != nil || c.FirstTokens[0] != nil || c.ReadLag[0] != nil || c.MaxGap[0] != nil || c.Last[0] != nil || c.TTFT[0] != nil || c.Events[0] != 0 || c.Prompt[0] != nil || b.Model.Parameters != nil {
		t.Errorf("%+v", c)
	}
}

func TestFits(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "NVIDIA GeForce RTX 4090": true, "Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]": true, "Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz": true, "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": true,
		"32.0.15.6094": true, "0.14.0rc2.dev1+gabcdef012": true, "llm-speed-sim timetable/1": true, "org/model:free": true, "sim": true, "W3/context=32768": true, "key-value store": true,
		"/home/anna/m.gguf": false, "see /home/x": false, "~/m": false, "./m": false, "../m": false, `C:\Users\x`: false, "c:/x/y": false, "http://h:8080": false, "anna@example.org": false, "10.1.2.3": false, "95.02.18.80.87": true, "at 10.1.2.3:80": false,
		"sk-proj-abcdefghij": false, "gsk_0123456789ab": false, "hf_abcdefghijklmnop": false, "Bearer abc": false, "api-key": false, "0123456789abcdef0123456789abcdef": false, "A1b2C3d4E5f6G7h8I9j0K1l2M3n4": false,
		"a\nb": false, "a\x00": false, "\xff": false, strings.Repeat("x", 121): false, "model (=/mnt/x/y)": false, "a\u202eb": false,
	} {
		if got := fits(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for name, want := range map[string]string{"org/model": "org/model", "/data/models/m": "m", `C:\m\x.gguf`: "x.gguf", "accounts/fireworks/models/llama": "llama", "m": "m", "": "", "~/m": "m", "./a/b": "b", "http://h/x": "x"} {
		if got := lastPart(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
