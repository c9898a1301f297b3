package oracle

import (
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/traps.md")

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(b)) }

// TestLiteralsAndTruthAgree holds the figures that were written down to those calculated from the timetable.
func TestLiteralsAndTruthAgree(t *testing.T) {
	for _, c := range Cases() {
		truth := c.Truth(c.Moments())
		for _, f := range []struct {
			name string
			want Fig
			got  float64
		}{
			{"ttft", c.Want.TTFT, truth.TTFT}, {"ttfa", c.Want.TTFA, truth.TTFA}, {"e2e", c.Want.E2E, truth.E2E}, {"decode", c.Want.Decode, truth.Decode},
			{"p50", c.Want.P50, truth.P50}, {"p95", c.Want.P95, truth.P95}, {"tokens/event", c.Want.TokensPerEvent, truth.TokensPerEvent}, {"stalls", c.Want.Stalls, truth.Stalls},
		} {
			if math.IsNaN(f.got) && f.name == "p50" && c.Want.How == "estimated" {
				continue // tokens by halves can't be written out
			}
			if f.want.Why == "" && !near(f.got, f.want.X) {
				t.Errorf("%s: %s is %v by the timetable, %v as written down", c.Name, f.name, f.got, f.want.X)
			}
		}
		events := 0
		for _, w := range c.Writes {
			for _, m := range w.Marks {
				if m.Kind != Silent {
					events++
				}
			}
		}
		if events != c.Want.Events {
			t.Errorf("%s: %d events, %d as written down", c.Name, events, c.Want.Events)
		}
	}
}

// TestTimetablesAreSound holds every case to what a server can do.
func TestTimetablesAreSound(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Cases() {
		if names[c.Name] || c.Name == "" || c.Naive == "" || c.Says == "" || len(c.Traps) == 0 {
			t.Errorf("%q is used twice, or says too little", c.Name)
		}
		names[c.Name] = true
		at := c.HeadAt
		for i, w := range c.Writes {
			if w.At <= at || w.Data == "" {
				t.Errorf("%s: write %d at %v follows one at %v", c.Name, i, w.At, at)
			}
			at = w.At
		}
	}
}

// TestWrongNumbers shows that the naive clients really get the wrong numbers, and that they are wrong.
func TestWrongNumbers(t *testing.T) {
	n := 0
	for _, c := range Cases() {
		for _, w := range c.Wrong {
			n++
			got, ok := c.Misread(w.Client)
			if !ok || math.Abs(got-w.X) > 0.0006*w.X {
				t.Errorf("%s: the client that %s gets %.1f, want %.1f", c.Name, w.Client, got, w.X)
			}
			right := map[string]Fig{"ttft": c.Want.TTFT, "decode": c.Want.Decode, "prefill": c.Want.ServerPrefill}[w.Figure]
			if right.Why == "" && math.Abs(w.X/right.X-1) < 0.02 {
				t.Errorf("%s: %s of %v is not wrong", c.Name, w.Figure, w.X)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d wrong numbers", n)
	}
}

// traps are the words of measurement.md section 8.
var traps = [...]string{
	"several tokens in an event", "role-only event long before the first token", "reasoning first, in each of its field names", "no usage, or `include_usage` refused",
	"chunk boundaries inside a UTF-8 character, and tokens that yield no text", "prompt length drifting from what was asked", "cache hits between passes",
	"server counters that look at cached tokens", "connection set-up or keep-alive expiry inside TTFT", "gzip or a buffering proxy", "the client as the bottleneck",
	"queueing hidden from the client", "ramp-up and drain inside throughput", "early stop, N = 1, N = 0", "tool-call parsers that hold tokens back", "a wall clock that steps",
	"too few samples for a percentile, hidden reasoning", "errors inside a stream, no end mark, a reset", "the forms of Server-Sent Events, split JSON, long lines", "first-run warm-up drift",
}

// page is docs/traps.md.
func page(t *testing.T) string {
	type line struct{ name, naive, says string }
	of := map[int][]line{}
	put := func(traps []int, l line) {
		for _, n := range traps {
			of[n] = append(of[n], l)
		}
	}
	for _, c := range Cases() {
		put(c.Traps, line{c.Name, c.Naive, c.Says})
	}
	for _, p := range Pairs() {
		put(p.Traps, line{p.Name, p.Naive, p.Says})
	}
	for _, b := range Batches() {
		put(b.Traps, line{b.Name, b.Naive, b.Says})
	}
	for _, r := range Rows() {
		put(r.Traps, line{r.Name, r.Naive, r.Says})
	}
	var b strings.Builder
	b.WriteString("# The traps of a stream, and what llm-speed says\n\n" +
		"Every line is a stream whose true figures are known (`internal/oracle`). Each is replayed in virtual time, where the figures must be\n" +
		"exact, cut at other read boundaries, and served over a socket (`drivers/oracletest`). The numbers are those of `measurement.md`, section 8.\n" +
		"A case that has several traps stands under each. This page is written by a test: `go test ./internal/oracle -update`.\n")
	for i, title := range traps {
		n := i + 1
		if len(of[n]) == 0 {
			t.Errorf("trap %d has no case", n)
		}
		fmt.Fprintf(&b, "\n## %d. %s\n\n| case | a client that falls into it | llm-speed |\n|---|---|---|\n", n, strings.ToUpper(title[:1])+title[1:])
		for _, l := range of[n] {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", l.name, l.naive, l.says)
		}
		delete(of, n)
	}
	for n := range of {
		t.Errorf("there is no trap %d", n)
	}
	return b.String()
}

// TestPage holds docs/traps.md to the cases.
func TestPage(t *testing.T) {
	const file = "../../docs/traps.md"
	want := page(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
		t.Error("docs/traps.md is not what the cases say; write it with -update")
	}
}

// TestTruth works the calculation out on a stream small enough to do by hand.
func TestTruth(t *testing.T) {
	c := Case{Writes: []Write{
		{At: 10 * ms, Marks: []Mark{{Silent, "", 1}}},
		{At: 20 * ms, Marks: []Mark{{Reasoning, "a", 2}}},
		{At: 30 * ms, Marks: []Mark{{Silent, "", 1}}},
		{At: 40 * ms, Marks: []Mark{{Answer, "b", 1}, {Answer, "c", 2}}},
		{At: 340 * ms, Marks: []Mark{{Answer, "d", 1}}},
		{At: 350 * ms, Marks: []Mark{{Silent, "", 5}}},
	}}
	got := c.Truth(c.Moments())
	// n = 3 | 4 in 20 ms | 1 in 300 ms; the last five are after t_L. 300 ms is no stall beside a median gap of 160.
	want := Truth{TTFT: 20, TTFA: 40, E2E: 340, Decode: 5 / 0.320, P50: 5, P95: 5 + 0.8*295, TokensPerEvent: 5.0 / 3, Stalls: 0}
	if !slices.EqualFunc(got.list(), want.list(), near) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func (t Truth) list() []float64 {
	return []float64{t.TTFT, t.TTFA, t.E2E, t.Decode, t.P50, t.P95, t.TokensPerEvent, t.Stalls}
}
