package page

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
)

var update = flag.Bool("update", false, "write the golden files anew")

func is[T any](v T) *T { return &v }

// made is a run of a workload over contexts, of parallel streams, of a session, and of one that no Go code knows.
func made(id string, factor float64) *record.Result {
	row := func(id, name, key string, point map[string]any, ttft, prefill, decode float64) record.Row {
		ttft, prefill, decode = ttft/factor, prefill*factor, decode*factor
		return record.Row{
			ID: id, Workload: name, Key: key, Point: point, Status: record.OK, Rankable: true, TTFTms: &ttft, PrefillTPS: &prefill, PrefillHow: "server",
			DecodeTPS: &decode, ITLp50ms: is(1000 / decode), ITLp95ms: is(1013 / decode), PromptTokens: is(128), OutputTokens: is(256), Passes: 2, Requests: 2,
			CountProvenance: "B", TokensHow: "stated", Cold: "proved", Reports: []string{"ttft_ms", "prefill_tps", "decode_tps"}, Flags: []record.Flag{},
			Samples: []record.Sample{{Pass: 1, Stream: 1, DecodeTPS: &decode}, {Pass: 2, Stream: 1, DecodeTPS: &decode}},
		}
	}
	near := row("W3", "long-context-decay", "W3/context=32768", map[string]any{"context": 32768.0}, 512.5, 6418, 151.8)
	near.CV, near.CI95 = map[string]float64{"decode_tps": 0.01}, map[string]record.CI{"decode_tps": {Low: 150.25 * factor, High: 153.5 * factor}}
	far := row("W3", "long-context-decay", "W3/context=65536", map[string]any{"context": 65536.0}, 1312.5, 5418, 101.8)
	far.TokensHow, far.PrefillHow = "estimated", "estimated"
	gone := record.Row{ID: "W3", Workload: "long-context-decay", Key: "W3/context=131072", Point: map[string]any{"context": 131072.0}, Status: record.Skipped, Reason: "needs 131,328 tokens of context"}
	one := row("W4", "concurrent-decode", "W4/batch=1", map[string]any{"batch": 1.0}, 30, 900, 100)
	one.AggregateTPS, one.PerStreamTPS, one.Batches = is(100*factor), is(100*factor), []record.Batch{{Pass: 1, Streams: []int{0}}}
	two := row("W4", "concurrent-decode", "W4/batch=2", map[string]any{"batch": 2.0}, 44, 900, 80)
	two.AggregateTPS, two.PerStreamTPS, two.Batches = is(160*factor), is(80*factor), []record.Batch{{Pass: 1, Streams: []int{0, 1}}}
	turns := row("W5", "agent-trace", "W5", nil, 20, 3000, 90)
	turns.HitRate, turns.Samples = is(0.75), nil
	for i := range 4 {
		turns.Samples = append(turns.Samples, record.Sample{
			Pass: 1, Stream: i + 1, Prompt: record.Count{N: is(1000 + 500*i), From: "B"}, Cached: record.Count{N: is(900 * i / 2), From: "B"},
			TTFTms: is(10 + float64(i)), DecodeTPS: is(90 - float64(i)), Inputs: &record.Inputs{Release: i + 1},
		})
	}
	strange := row("Z9", "never-seen", "Z9/depth=3,mode=deep", map[string]any{"depth": 3.0, "mode": "deep"}, 4.2, 120, 9.41)
	strange.Reports = []string{"leap_ms", "leap_ms.p50"} // a statistic by itself too
	strange.Metrics = map[string]record.Metric{"leap_ms": {Unit: "ms", Better: "lower", N: 3, Stats: map[string]float64{"p95": 1412.4, "p50": 812}}}
	strange.Flags = []record.Flag{{Name: "solar_storm", Evidence: "Kp 9"}}
	other := strange
	other.Key, other.Point = "Z9/depth=4,mode=shallow", map[string]any{"depth": 4.0, "mode": "shallow"}
	other.DecodeTPS, other.Reasons = nil, record.Reasons{"decode_tps": "the stream had one read"}
	return &record.Result{
		Schema: record.Schema, RunID: id, State: record.Complete, Mode: "full", Seed: "00000000deadbeef",
		Suite: record.Suite{Name: "suite-v1", Version: "1.0.0", Digest: "sha256:0123456789abcdef", Official: true}, Backend: record.Backend{Name: "llamacpp", Version: "b6123"},
		Model:       record.Model{Ref: "m.gguf", Name: "Example 8B", Quant: "Q4_K_M", Digest: "sha256:fedcba"},
		Calibration: json.RawMessage(`{"itl_error_p99_ms": 0.25, "ok": true}`), Rows: []record.Row{near, far, gone, one, two, turns, strange, other},
	}
}

// read is a run with the streams of one row, the second of which stood still.
func read(r *record.Result) Run {
	var steps []Step
	var itl []stats.Weighted
	at := 512.5
	for i := range 50 {
		if i == 25 {
			at += 900
		}
		steps = append(steps, Step{At: at, Tokens: 1})
		itl = append(itl, stats.Weighted{X: 6.5 + float64(i%5)/10, W: 1})
		at += 6.5
	}
	return Run{Result: r, Streams: map[string][]Stream{"W3/context=32768": {{Sample: 0, Steps: steps[:20], ITL: itl, Counted: true}, {Sample: 1, Steps: steps, ITL: itl, Counted: true}}}, Absent: map[string]string{"W5": "the recordings are not beside the result"}}
}

func build(t *testing.T, o Options, runs ...Run) *Report {
	t.Helper()
	r, err := Build(runs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func html(t *testing.T, r *Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.HTML(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// document is an HTML page as it was parsed.
type document struct {
	text   strings.Builder // all text but styles
	values []float64       // of data elements
	ids    map[string]int
	links  []string
	charts int
	tables int
}

// parse takes a page for XML, which is stricter than HTML, and fails for whatever would load or run something.
func parse(t *testing.T, page string) *document {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	out := &document{ids: map[string]int{}}
	style := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			switch x.Name.Local {
			case "script", "iframe", "object", "embed", "link", "img", "form", "base", "image", "foreignObject":
				t.Fatalf("the page has a %s", x.Name.Local)
			case "style":
				style++
			case "svg":
				out.charts++
			case "table":
				out.tables++
			}
			for _, a := range x.Attr {
				name := strings.ToLower(a.Name.Local)
				switch {
				case strings.HasPrefix(name, "on"), name == "src", name == "srcset", name == "style", name == "action":
					t.Fatalf("%s has %s=%q", x.Name.Local, name, a.Value)
				case name == "href":
					out.links = append(out.links, a.Value)
				case name == "id":
					out.ids[a.Value]++
				case name == "value" && x.Name.Local == "data":
					v, err := strconv.ParseFloat(a.Value, 64)
					if err != nil {
						t.Fatal(err)
					}
					out.values = append(out.values, v)
				}
			}
		case xml.EndElement:
			if x.Name.Local == "style" {
				style--
			}
		case xml.CharData:
			if style > 0 {
				if css := string(x); strings.Contains(css, "url(") || strings.Contains(css, "@import") {
					t.Fatal("the style sheet loads something")
				}
				continue
			}
			out.text.Write(x)
		}
	}
}

// whole fails for a page that breaks a promise which every page gives.
func whole(t *testing.T, page string) *document {
	t.Helper()
	d := parse(t, page)
	for id, n := range d.ids {
		if n > 1 {
			t.Errorf("the id %s is there %d times", id, n)
		}
	}
	for _, link := range d.links {
		if d.ids[strings.TrimPrefix(link, "#")] == 0 || !strings.HasPrefix(link, "#") {
			t.Errorf("a link to %q", link)
		}
	}
	for _, want := range []string{"default-src 'none'; style-src 'unsafe-inline'; img-src data:", "prefers-color-scheme:dark", "@media print", `name="viewport"`} {
		if !strings.Contains(strings.ReplaceAll(page, "&#39;", "'"), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "+Inf") {
		t.Error("the page shows what is no number")
	}
	return d
}

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

func TestGolden(t *testing.T) {
	small := made("20260304-050607-ab12", 1)
	small.Rows = small.Rows[:3]
	r := build(t, Options{}, read(small))
	page := html(t, r)
	whole(t, page)
	// The style sheet is looked at in a browser, not here.
	from, to := strings.Index(page, "<style>"), strings.Index(page, "</style>")
	golden(t, "run.html", []byte(page[:from]+page[to:]))
	var text bytes.Buffer
	if err := r.Markdown(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "run.md", text.Bytes())
	text.Reset()
	if err := r.CSV(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "run.csv", text.Bytes())
}

// numbers are all numbers of a document.
func numbers(t *testing.T, v any) map[float64]bool {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out := map[float64]bool{}
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return out
		}
		if x, ok := token.(float64); ok {
			out[x] = true
		}
	}
}

// TestEveryNumberIsMeasured: what the page and the CSV give as values are numbers of the result documents, and the points of
// charts over rows and of requests too.
func TestEveryNumberIsMeasured(t *testing.T) {
	a, b := made("a", 1), made("b", 1.1)
	known := numbers(t, []*record.Result{a, b})
	r := build(t, Options{}, read(a), read(b))
	d := whole(t, html(t, r))
	if len(d.values) < 100 {
		t.Fatalf("only %d values on the page", len(d.values))
	}
	for _, v := range d.values {
		if !known[v] {
			t.Errorf("the page has %g, no document does", v)
		}
	}
	for _, w := range r.Workloads {
		for _, c := range w.Charts {
			if !strings.Contains(c.ID, "-over-") && !strings.Contains(c.ID, "-scaling") && !strings.Contains(c.ID, "-each") && !strings.Contains(c.ID, "-ttft") {
				continue
			}
			for _, s := range c.Series {
				for _, p := range s.Points {
					if !s.Guide && !known[p.Y] {
						t.Errorf("%s draws %g, no document has it", c.ID, p.Y)
					}
				}
			}
		}
	}
	var out bytes.Buffer
	if err := r.CSV(&out); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, line := range lines[1:] {
		for _, at := range []int{7, 9, 10} {
			if line[at] == "" {
				continue
			}
			v, err := strconv.ParseFloat(line[at], 64)
			if seen++; err != nil || !known[v] {
				t.Errorf("the CSV has %q: %v", line[at], line)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d numbers in the CSV", seen)
	}
}

func chartIDs(r *Report) string { return strings.Join(r.Charts(), " ") }

func TestWhatIsShown(t *testing.T) {
	r := build(t, Options{}, read(made("a", 1)))
	d := whole(t, html(t, r))
	for _, id := range []string{"w3-over-decode-tps", "w3-over-prefill-tps", "w3-latency", "w3-stream", "w4-scaling", "w4-each", "w5-prompts", "w5-ttft", "z9-over-leap-ms"} {
		if !strings.Contains(" "+chartIDs(r)+" ", " "+id+" ") {
			t.Errorf("no chart %s among %s", id, chartIDs(r))
		}
	}
	if d.charts != len(r.Charts()) || d.tables < d.charts {
		t.Errorf("%d pictures and %d tables for %d charts", d.charts, d.tables, len(r.Charts()))
	}
	for _, want := range []string{"solar_storm", "Kp 9", "needs 131,328 tokens", "≈ 101.8", "the stream had one read", "never-seen", "leap", "sha256:0123456789abcdef", "itl error p99", "the recordings are not beside the result", "Ideal"} {
		if !strings.Contains(d.text.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestNoticesComeFirst(t *testing.T) {
	r := made("a", 1)
	r.Mode, r.State, r.Backend.Name, r.Suite.Official = "quick", record.Partial, "sim", false
	for i := range r.Rows {
		r.Rows[i].Flags = []record.Flag{{Name: "simulated"}, {Name: "quick"}}
	}
	rep := build(t, Options{}, read(r))
	text := whole(t, html(t, rep)).text.String()
	first := strings.Index(text, "What was measured")
	for _, word := range []string{"SIMULATED:", "QUICK:", "PARTIAL:"} {
		if at := strings.Index(text, word); at < 0 || at > strings.Index(text[first/2:], "At a glance")+first/2 {
			t.Errorf("%s stands at %d", word, at)
		}
	}
	for _, w := range rep.Workloads {
		for _, c := range w.Charts {
			if !strings.Contains(c.Title, "(simulated, quick)") {
				t.Errorf("the title %q does not say what it is", c.Title)
			}
		}
	}
	sheet, err := rep.Picture(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(sheet.Warn) < 3 {
		t.Errorf("the picture warns of %q", sheet.Warn)
	}
}

// A run that was stopped says what it did not reach; each of several says it of itself.
func TestNotReached(t *testing.T) {
	stopped := made("b", 1)
	stopped.State, stopped.Planned = record.Partial, []string{"W3/context=32768", "W6", "W7/users=3"}
	alone := build(t, Options{}, read(stopped))
	if want := "PARTIAL: the run was stopped before its end; not reached: W6, W7/users=3."; !slices.Contains(alone.Notices, want) {
		t.Errorf("notices %q, want %q", alone.Notices, want)
	}
	both := build(t, Options{}, read(made("a", 1)), read(stopped))
	if want := "Run B: PARTIAL: the run was stopped before its end; not reached: W6, W7/users=3."; !slices.Contains(both.Notices, want) {
		t.Errorf("notices %q, want %q", both.Notices, want)
	}
	stopped.Planned = nil // of an earlier version
	if got := build(t, Options{}, read(stopped)).Notices; !slices.Contains(got, "PARTIAL: the run was stopped before its end.") {
		t.Errorf("notices %q", got)
	}
}

// What the suite wants shown of a row stands below its headline, with the reason where it is not known.
func TestDetailsAtAGlance(t *testing.T) {
	r := made("a", 1)
	for i := range r.Rows {
		if r.Rows[i].ID == "W4" {
			r.Rows[i].Reports = append(r.Rows[i].Reports, "aggregate_tps", "fairness")
			r.Rows[i].Reasons = record.Reasons{"fairness": "one stream had no rate"}
		}
	}
	page := html(t, build(t, Options{}, read(r)))
	glance := page[strings.Index(page, `id="glance"`):]
	glance = glance[:strings.Index(glance, "</section>")]
	for _, want := range []string{`aggregate <data value="160">160.0 tok/s</data>`, "fairness –<sup>", "not known: one stream had no rate"} {
		if !strings.Contains(glance, want) {
			t.Errorf("at a glance it does not say %q", want)
		}
	}
}

// Evidence says of which rows it is, unless it is of all that have the flag.
func TestEvidenceHasItsRows(t *testing.T) {
	r := made("a", 1)
	for i := range r.Rows {
		r.Rows[i].Flags = nil
	}
	r.Flags = []record.Flag{{Name: "quick", Evidence: "asked for"}}
	r.Rows[0].Flags = []record.Flag{{Name: "unstable", Evidence: "varies by 9 %"}, {Name: "quick", Evidence: "asked for"}, {Name: "errors", Evidence: "reset"}}
	r.Rows[1].Flags = []record.Flag{{Name: "unstable", Evidence: "varies by 7 %"}, {Name: "errors", Evidence: "reset"}}
	r.Rows[3].Flags = []record.Flag{{Name: "unstable", Evidence: "varies by 7 %"}}
	got := map[string][]string{}
	for _, f := range flagsOf(r) {
		got[f.Name] = f.Evidence
	}
	want := map[string][]string{
		"quick": {"asked for"}, "errors": {"reset"},
		"unstable": {"W3/context=32768: varies by 9 %", "W3/context=65536, W4/batch=1: varies by 7 %"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("evidence (-want +got):\n%s", d)
	}
}

func TestChangeText(t *testing.T) {
	for _, c := range []struct {
		c         compare.Change
		change, p string
	}{
		{compare.Change{Percent: is(-0.04), Verdict: compare.TooFew}, "0.0 % ?", ""},
		{compare.Change{Percent: is(0.06), Verdict: compare.TooFew}, "+0.1 % ?", ""},
		{compare.Change{Percent: is(-2.8), P: is(0.016), Verdict: compare.Differs}, "-2.8 %", "(p 0.016)"},
		{compare.Change{Percent: is(-2.8), P: is(0.4), Verdict: compare.Same}, "~", ""},
		{compare.Change{Verdict: compare.Null}, "–", ""},
	} {
		if change, p := changeText(c.c); change != c.change || p != c.p {
			t.Errorf("%+v: %q %q, want %q %q", c.c, change, p, c.change, c.p)
		}
	}
}

// TestRunsThatDiffer: what was not measured alike shares no picture, unless it was asked for.
func TestRunsThatDiffer(t *testing.T) {
	other := made("b", 2)
	other.Model.Quant = "Q8_0"
	for _, force := range []bool{false, true} {
		r := build(t, Options{Force: force}, read(made("a", 1)), read(other))
		text := whole(t, html(t, r)).text.String()
		if at := strings.Index(text, "NOT MEASURED ALIKE"); at < 0 || at > strings.Index(text, "At a glance") {
			t.Errorf("force %v: what differs is said at %d", force, at)
		}
		if together := strings.Contains(" "+chartIDs(r)+" ", " w3-over-decode-tps "); together != force {
			t.Errorf("force %v: charts %s", force, chartIDs(r))
		}
		if alone := strings.Contains(chartIDs(r), "w3-over-decode-tps-b"); alone == force {
			t.Errorf("force %v: charts %s", force, chartIDs(r))
		}
	}
	same := build(t, Options{}, read(made("a", 1)), read(made("b", 1.05)), read(made("c", 1.1)))
	if got := chartIDs(same); strings.Count(got, "z9-over-leap-ms") != 2 || !strings.Contains(got, "z9-over-leap-ms-p95") {
		t.Errorf("two statistics of a metric have the charts %s", got)
	}
	for _, w := range same.Workloads {
		for _, c := range w.Charts {
			if c.ID == "w3-over-decode-tps" && len(c.Series) != 3 {
				t.Errorf("%d series of 3 runs", len(c.Series))
			}
			styles := map[int]bool{}
			for _, s := range c.Series {
				if styles[s.Style] && !s.Guide {
					t.Errorf("%s: two series of one style", c.ID)
				}
				styles[s.Style] = styles[s.Style] || !s.Guide
			}
		}
	}
	if _, err := Build(make([]Run, MaxRuns+1), Options{}); err == nil {
		t.Error("too many runs are taken")
	}
}

func TestStreams(t *testing.T) {
	r := build(t, Options{Streams: []Pick{{"W3/32k", 2, 1}}}, read(made("a", 1)))
	if got := chartIDs(r); strings.Count(got, "-stream") != 1 {
		t.Errorf("charts %s", got)
	}
	if text := html(t, r); !strings.Contains(text, "stood still 906.5 ms") || !strings.Contains(text, "1 stall.") {
		t.Error("the page does not say that the stream stood still")
	}
	for _, bad := range []Pick{{"W3/32k", 3, 1}, {"W3/32k", 1, 2}, {"W4/2", 1, 1}, {"W77", 1, 1}} {
		if _, err := Build([]Run{read(made("a", 1))}, Options{Streams: []Pick{bad}}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	for _, text := range []string{"", "W1", "W1/1", "W1/0/1", "W1/1/x", "/1/1"} {
		if p, err := ParsePick(text); err == nil {
			t.Errorf("%q is %v", text, p)
		}
	}
	if p, err := ParsePick("W4/batch=8/2/3"); err != nil || p != (Pick{"W4/batch=8", 2, 3}) || p.String() != "W4/batch=8/2/3" {
		t.Errorf("%v, %v", p, err)
	}
}

// hostile puts a text wherever a document has one.
func hostile(text string) *record.Result {
	r := made(text, 1)
	r.Model.Name, r.Model.Ref, r.Model.Quant, r.Backend.Version, r.Suite.Name, r.Seed = text, text, text, text, text, text
	r.Flags = []record.Flag{{Name: text, Evidence: text}}
	r.Budget.Cut, r.Reasons = []string{text}, record.Reasons{"fingerprint": text, "calibration": text}
	r.Calibration, _ = json.Marshal(map[string]any{text: text, "x": 1})
	r.Fingerprint, _ = json.Marshal(map[string]any{"cpu": map[string]any{"model": text}, "os": map[string]any{"name": text}})
	for i := range r.Rows {
		row := &r.Rows[i]
		row.ID, row.Workload, row.Reason = text+row.ID, text, text
		row.Flags = []record.Flag{{Name: text, Evidence: text}}
		row.Reasons = record.Reasons{"wall_ms": text}
		if row.Point != nil {
			row.Point[text] = text
		}
		for k := range row.Samples {
			row.Samples[k].Error = text
		}
		if row.Metrics != nil {
			row.Metrics = map[string]record.Metric{text: {Unit: text, Stats: map[string]float64{text: 1}}}
			row.Reports = []string{text}
		}
	}
	return r
}

func TestHostileText(t *testing.T) {
	for _, text := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "]]>--></style></svg><a href='http://x'>", "a\x00b\x1b[31m\u202eevil\u2028\xff", "javascript:alert(1)", strings.Repeat("long", 3000)} {
		r := build(t, Options{}, read(hostile(text)), Run{Result: hostile(text)})
		page := html(t, r)
		whole(t, page)
		for _, bad := range []string{"\x00", "\x1b", "\u202e"} {
			if strings.Contains(page, bad) {
				t.Errorf("%q is on the page", bad)
			}
		}
		all(t, r)
	}
}

// all writes every form.
func all(t *testing.T, r *Report) {
	t.Helper()
	whole(t, html(t, r))
	var out bytes.Buffer
	if err := errors.Join(r.Markdown(&out), r.CSV(io.Discard)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "\x1b", "\x00"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the Markdown has %q", bad)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	sheet, err := r.Picture(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := sheet.SVG(&out); err != nil {
		t.Fatal(err)
	}
	parse(t, out.String())
}

func TestOddRuns(t *testing.T) {
	empty := &record.Result{}
	null := made("null", 1)
	for i := range null.Rows {
		row := &null.Rows[i]
		*row = record.Row{ID: row.ID, Workload: row.Workload, Key: row.Key, Point: row.Point, Status: record.OK, Reports: row.Reports, Reasons: record.Reasons{"ttft_ms": "no event bore text"}}
	}
	huge := made("huge", 1)
	for i := range huge.Rows {
		huge.Rows[i].DecodeTPS, huge.Rows[i].TTFTms, huge.Rows[i].PrefillTPS = is(math.MaxFloat64), is(-math.MaxFloat64), is(math.SmallestNonzeroFloat64)
	}
	many := read(made("many", 1))
	var steps []Step
	for i := range 10_000 {
		steps = append(steps, Step{At: float64(i) * 0.5, Tokens: 1})
	}
	many.Streams["W3/context=32768"] = []Stream{{Sample: 0, Steps: steps, Counted: true}, {Sample: 99, Steps: steps}, {Sample: -1}}
	for name, run := range map[string]Run{"empty": {Result: empty}, "null": {Result: null}, "huge": {Result: huge}, "many": many} {
		t.Run(name, func(t *testing.T) {
			r := build(t, Options{}, run)
			all(t, r)
			if size := len(html(t, r)); size > 500_000 {
				t.Errorf("%d bytes", size)
			}
		})
	}
	if text := whole(t, html(t, build(t, Options{}, Run{Result: null}))).text.String(); !strings.Contains(text, "not known: no event bore text") {
		t.Error("the page does not say why a figure is unknown")
	}
}

// FuzzReport renders whatever JSON makes a result document.
func FuzzReport(f *testing.F) {
	for _, r := range []*record.Result{made("a", 1), hostile("<x>"), {}} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r record.Result
		if json.Unmarshal(text, &r) != nil {
			return
		}
		run := read(&r)
		if len(r.Rows) > 0 {
			run.Streams[r.Rows[0].Key] = run.Streams["W3/context=32768"]
		}
		one, err := Build([]Run{run}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		all(t, one)
		two, err := Build([]Run{run, read(made("b", 1))}, Options{Force: len(text)%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		all(t, two)
	})
}
