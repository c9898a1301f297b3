package compare

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
)

func ptr[T any](x T) *T { return &x }

// made is a run of a suite that nobody has heard of, with a pass for each of the rates.
func made(id string, rates ...float64) *record.Result {
	row := record.Row{
		ID: "Q7", Workload: "never-seen", Key: "Q7/depth=2", Point: map[string]any{"depth": 2.0}, Status: record.OK, Rankable: true, Passes: len(rates),
		Reports: []string{"decode_tps", "prefill_method", "leap_ms", "decode_p50_latency_ms", "ttfa_ms"}, PrefillHow: "server",
		Relative: map[string]*float64{"decay": ptr(0.9)}, PromptTokens: ptr(128), OutputTokens: ptr(32), Reasons: record.Reasons{"ttfa_ms": "no answer"},
	}
	m := record.Metric{Unit: "ms", Better: "lower", Stats: map[string]float64{}}
	var leaps []float64
	for i, rate := range rates {
		row.Samples = append(row.Samples, record.Sample{Pass: i + 1, DecodeTPS: &rates[i], AskedPrompt: 128, AskedOutput: 32})
		m.Values = append(m.Values, []float64{1000 / rate, 3000 / rate})
		leaps = append(leaps, 3000/rate)
	}
	median, _ := stats.Median(rates)
	row.DecodeTPS, row.ITLp50ms = &median, ptr(1000/median)
	leap, _ := stats.Median(leaps)
	m.Stats["max"] = leap
	row.Metrics = map[string]record.Metric{"leap_ms": m}
	return &record.Result{
		RunID: id, Mode: "full", Suite: record.Suite{Name: "mine", Version: "0.1.0", Digest: "sha256:aaaa"}, Backend: record.Backend{Name: "llama.cpp"},
		Model: record.Model{Name: "m", Quant: "Q4_K_M", Digest: "sha256:bbbb", DigestKind: "gguf"}, Rows: []record.Row{row},
	}
}

func metricNamed(t *testing.T, r *Result, name string) Metric {
	t.Helper()
	for _, m := range r.Rows[0].Metrics {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no %s among %+v", name, r.Rows[0].Metrics)
	return Metric{}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		want Verdict
	}{
		{"apart", []float64{100, 101, 102, 103}, []float64{90, 91, 92, 93}, Differs},
		{"mixed", []float64{100, 101, 102, 103}, []float64{100.5, 101.5, 99.5, 102.5}, Same},
		{"three passes can't tell", []float64{100, 101, 102}, []float64{50, 51, 52}, TooFew},
		{"one pass", []float64{100}, []float64{50}, TooFew},
	} {
		r := Runs([]*record.Result{made("a", c.a...), made("b", c.b...)}, false, nil)
		for _, name := range []string{"decode_tps", "leap_ms.max"} {
			if got := metricNamed(t, r, name).Changes[0]; got.Verdict != c.want || got.Percent == nil || (got.P != nil) != (c.want == Differs || c.want == Same) {
				t.Errorf("%s, %s: %+v, want %s", c.name, name, got, c.want)
			}
		}
		for _, name := range []string{"decode_p50_latency_ms", "decay"} {
			if got := metricNamed(t, r, name).Changes[0]; got.Verdict != Untold || got.P != nil {
				t.Errorf("%s, %s: %+v, want no test", c.name, name, got)
			}
		}
		if slices.ContainsFunc(r.Rows[0].Metrics, func(m Metric) bool { return m.Name == "prefill_method" || m.Name == "ttfa_ms" }) {
			t.Error("a text, or a figure that neither has, is compared")
		}
	}
	r := Runs([]*record.Result{made("a", 100, 102, 104, 106), made("b", 50, 51, 52, 53)}, false, nil)
	m := metricNamed(t, r, "decode_tps")
	if x := *m.Changes[0].Percent; x != -50 {
		t.Errorf("change %v, want -50", x)
	}
	low, high, _ := stats.CI95([]float64{100, 102, 104, 106})
	if f := m.Figures[0]; *f.Low != low || *f.High != high || len(f.Passes) != 4 {
		t.Errorf("interval %v", f)
	}
}

// Values by pass that do not make the row's figure are not what it stands on: no test is made of them.
func TestPassesMustGiveTheFigure(t *testing.T) {
	b := made("b", 50, 51, 52, 53)
	b.Rows[0].DecodeTPS = ptr(99.0)
	if got := metricNamed(t, Runs([]*record.Result{made("a", 100, 101, 102, 103), b}, false, nil), "decode_tps"); got.Changes[0].Verdict != Untold || got.Figures[1].Low != nil {
		t.Errorf("got %+v", got)
	}
	// A failed pass is none.
	b = made("b", 50, 51, 52, 53)
	b.Rows[0].Samples = append(b.Rows[0].Samples, record.Sample{Pass: 5, Error: "reset", DecodeTPS: ptr(9000.0), AskedPrompt: 128, AskedOutput: 32})
	if got := metricNamed(t, Runs([]*record.Result{made("a", 100, 101, 102, 103), b}, false, nil), "decode_tps"); got.Changes[0].Verdict != Differs || len(got.Figures[1].Passes) != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNotAlikeIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*record.Result)
		want   string // in the reasons of the row; empty: compared
	}{
		{"suite", func(r *record.Result) { r.Suite.Digest = "sha256:cccc" }, "another suite"},
		{"quick", func(r *record.Result) { r.Mode = "quick" }, "another mode"},
		{"quant", func(r *record.Result) { r.Model.Quant = "" }, "another model.quant"},
		{"weights", func(r *record.Result) { r.Model.Digest = "sha256:cccc" }, "another model.digest"},
		{"weights not hashed, same name", func(r *record.Result) { r.Model.Digest = "" }, ""},
		{"weights not hashed, another name", func(r *record.Result) { r.Model.Digest, r.Model.Name = "", "n" }, "another model"},
		{"hashed otherwise", func(r *record.Result) { r.Model.DigestKind, r.Model.Name = "api", "n" }, "another model"},
		{"simulated", func(r *record.Result) { r.Rows[0].Flags = []record.Flag{{Name: "simulated"}} }, "another simulated"},
		{"prompt", func(r *record.Result) { r.Rows[0].Samples[0].AskedPrompt = 256 }, "another prompt size asked for: 128 / 128,256"},
		{"output", func(r *record.Result) { r.Rows[0].Samples[0].AskedOutput = 64 }, "another output size asked for"},
		{"parallel", func(r *record.Result) { r.Rows[0].Batches = []record.Batch{{Pass: 1, Streams: []int{0, 1, 2}}} }, "another parallelism: 1 / 3"},
		{"tokens as counted", func(r *record.Result) { r.Rows[0].PromptTokens = ptr(140) }, "another prompt_tokens: 128 / 140"},
		{"a token more", func(r *record.Result) { r.Rows[0].PromptTokens = ptr(129) }, ""},
		{"point", func(r *record.Result) { r.Rows[0].Point = map[string]any{"depth": 3.0} }, "another point"},
		{"another backend", func(r *record.Result) { r.Backend.Name = "vllm" }, ""},
		{"failed", func(r *record.Result) { r.Rows[0].Status, r.Rows[0].Reason = record.Failed, "HTTP 500" }, "failed in b: HTTP 500"},
	} {
		a, b := made("a", 100, 101, 102, 103), made("b", 90, 91, 92, 93)
		c.change(b)
		row := Runs([]*record.Result{a, b}, false, nil).Rows[0]
		if got := strings.Join(row.Refused, "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) || (got != "") != (len(row.Metrics) == 0) {
			t.Errorf("%s: refused %q with %d figures, want %q", c.name, got, len(row.Metrics), c.want)
		}
		forced := Runs([]*record.Result{a, b}, true, nil).Rows[0]
		if c.name == "failed" {
			if len(forced.Refused) == 0 {
				t.Error("a failed row was compared by force")
			}
		} else if len(forced.Refused) > 0 || len(forced.Metrics) == 0 || strings.Join(forced.Forced, "; ") != strings.Join(row.Refused, "; ") {
			t.Errorf("%s: forced %+v", c.name, forced)
		}
	}
	b := made("b", 1)
	b.Rows[0].Key = "Q7/depth=3"
	if r := Runs([]*record.Result{made("a", 1), b}, true, nil); strings.Join(r.Missing, " ") != "Q7/depth=2 Q7/depth=3" || len(r.Rows) != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestLimits(t *testing.T) {
	slower := Runs([]*record.Result{made("a", 100, 101, 102, 103), made("b", 90, 91, 92, 93)}, false, nil)
	mixed := Runs([]*record.Result{made("a", 100, 101, 102, 103), made("b", 50, 101.5, 102.5, 110)}, false, nil)
	few := Runs([]*record.Result{made("a", 100), made("b", 90)}, false, nil)
	quick := made("b", 100, 101, 102, 103)
	quick.Mode = "quick"
	refused := Runs([]*record.Result{made("a", 100, 101, 102, 103), quick}, false, nil)
	for _, c := range []struct {
		r    *Result
		text string
		want string // in what is said; empty: it holds
	}{
		{slower, "decode_tps<-5%", "changed by -9.85 % in b (p = 0.0286)"},
		{slower, "decode_tps < -20 %", ""},
		{slower, "decode_tps>5%", ""},
		{slower, "leap_ms.max>5%", "changed by +10.9"},
		{slower, "Q7:decode_tps<-5%", "changed"},
		{slower, "Q7/depth=2:decode_tps<-5%", "changed"},
		{slower, "Q8:decode_tps<-5%", "no row"},
		{slower, "nosuch<-5%", "no row"},
		{mixed, "decode_tps<0.1%", ""},
		{few, "decode_tps<-5%", "too few passes"},
		{few, "decode_tps<-20%", ""},
		{refused, "decode_tps<-5%", "was not compared"},
	} {
		l, err := ParseLimit(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(c.r.Broken(l), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
		if again, err := ParseLimit(l.String()); err != nil || again != l {
			t.Errorf("%s is read back as %+v, %v", l, again, err)
		}
	}
	for _, bad := range []string{"", "decode_tps", "decode_tps<-5", "<-5%", "a b<5%", "decode_tps=5%", "decode_tps<x%", "decode_tps<NaN%", "decode_tps<=5%", ":x<5%", "x<inf%"} {
		if l, err := ParseLimit(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, l)
		}
	}
}

// No text of a document ends a line, moves a cursor, is a formula or a column of a table.
func TestFormatsOfHostileDocuments(t *testing.T) {
	a, b := made("a", 100, 101, 102, 103), made("=cmd()\x1b[2J\n|", 90, 91, 92, 93)
	for _, r := range []*record.Result{a, b} {
		r.Rows[0].Key, r.Rows[0].Workload, r.Model.Name = "=Q|7\n\x1b<b>", "-x y", "m\r\n"
		r.Rows[0].Metrics = map[string]record.Metric{"l e\nap": r.Rows[0].Metrics["leap_ms"]}
	}
	r := Runs([]*record.Result{a, b}, false, nil)
	var table, md, bench, sheet bytes.Buffer
	for _, err := range []error{Table(&table, r), Markdown(&md, r), Benchstat(&bench, r, []*record.Result{a, b}), CSV(&sheet, r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"table": table.String(), "md": md.String(), "benchstat": bench.String(), "csv": sheet.String()} {
		if strings.ContainsAny(text, "\x1b\r") || strings.Contains(text, "<b>") && name == "md" {
			t.Errorf("%s:\n%q", name, text)
		}
	}
	for line := range strings.Lines(bench.String()) {
		if strings.HasPrefix(line, "Benchmark") && len(strings.Fields(line))%2 != 0 {
			t.Errorf("no line of a benchmark: %q", line)
		}
	}
	lines, err := csv.NewReader(&sheet).ReadAll()
	if err != nil || len(lines) < 5 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, line := range lines[1:] {
		for i, cell := range line {
			if i < 4 && cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestTable(t *testing.T) {
	a, b := made("a", 100, 101, 102, 103), made("b", 90, 91, 92, 93)
	b.Backend.Version, b.Rows[0].Rankable = "b42", false
	var out bytes.Buffer
	if err := Table(&out, Runs([]*record.Result{a, b}, false, nil)); err != nil {
		t.Fatal(err)
	}
	want := `A  a  llama.cpp  m
B  b  llama.cpp  m

also different
  backend.version: A not known · B b42

Q7/depth=2 never-seen
  ! not ranked: b
  metric                                   A                  B   change
  decode_tps             101.5 [99.4, 103.6]  91.5 [89.4, 93.6]   -9.9 %  p 0.029
  leap_ms.max              29.6 [29.0, 30.2]  32.8 [32.1, 33.5]  +10.9 %  p 0.029
  decode_p50_latency_ms                 9.85               10.9  +10.9 %        ?
  decay                                0.900              0.900   +0.0 %        ?

Values are medians`
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s", got)
	}
}

// TestOtherPrograms: runs of different programs are never lined up; with force their figures stand beside each other.
func TestOtherPrograms(t *testing.T) {
	ours, theirs := made("A", 100, 101, 102, 103), made("B", 90, 91, 92, 93)
	theirs.Kind = record.LlamaBench
	for _, force := range []bool{false, true} {
		r := Runs([]*record.Result{ours, theirs}, force, nil)
		if len(r.Rows) > 0 || len(r.Definitions) == 0 || len(r.Beside) != map[bool]int{false: 0, true: 2}[force] || r.Differ[0].Field != "measured by" {
			t.Fatalf("force %t: %+v", force, r)
		}
		for i, side := range r.Beside {
			if side.Run != i || len(side.Metrics) == 0 || len(side.Metrics[0].Figures) != 1 || len(side.Metrics[0].Changes) != 0 {
				t.Errorf("%+v", side)
			}
		}
		for name, write := range map[string]func(*bytes.Buffer) error{
			"table": func(b *bytes.Buffer) error { return Table(b, r) }, "md": func(b *bytes.Buffer) error { return Markdown(b, r) },
			"csv": func(b *bytes.Buffer) error { return CSV(b, r) }, "benchstat": func(b *bytes.Buffer) error { return Benchstat(b, r, []*record.Result{ours, theirs}) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			if shown := strings.Contains(b.String(), "decode_tps"); shown != force {
				t.Errorf("force %t: %s shows figures: %t\n%s", force, name, shown, b.String())
			}
			if strings.Contains(b.String(), "%\t") || strings.Contains(b.String(), "differs,") {
				t.Errorf("%s claims a change:\n%s", name, b.String())
			}
		}
	}
	both := Runs([]*record.Result{theirs, theirs}, false, nil)
	if len(both.Rows) != 1 || len(both.Rows[0].Refused) > 0 || len(both.Definitions) > 0 {
		t.Errorf("two of llama-bench: %+v", both)
	}
}

// TestBenchstatOfOne: a run alone has no line that would keep it from being lined up with another.
func TestBenchstatOfOne(t *testing.T) {
	var b bytes.Buffer
	one := made("A", 100, 101)
	if err := Benchstat(&b, Runs([]*record.Result{one}, false, nil), []*record.Result{one}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.Contains(text, "\nrun:") || strings.Contains(text, "\nbackend:") || !strings.Contains(text, "\nsuite: mine 0.1.0") || strings.Count(text, "\nBenchmarkQ7/depth=2 1 ") != 2 || !strings.HasSuffix(text, "Unit decode_tps better=higher\n") {
		t.Error(text)
	}
}
