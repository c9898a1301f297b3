package oracle

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// all goes through every scene in every dialect.
func all(t *testing.T, check func(*testing.T, *Dialect, *Case)) {
	t.Helper()
	for _, d := range Dialects() {
		for _, c := range d.Cases() {
			t.Run(d.Name+"/"+c.Name, func(t *testing.T) { check(t, d, &c) })
		}
	}
}

// TestScenesAndTruthAgree holds the figures that scenes state to those calculated from the timetable.
func TestScenesAndTruthAgree(t *testing.T) {
	all(t, func(t *testing.T, _ *Dialect, c *Case) {
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
				t.Errorf("%s is %v by the timetable, %v as written down", f.name, f.got, f.want.X)
			}
		}
		events := 0
		for _, w := range c.Writes {
			for i, m := range w.Marks {
				if m.Kind != Silent {
					events++
				}
				if w.Ends != nil && (w.Ends[i] > len(w.Data) || w.Data[w.Ends[i]-1] != '\n') {
					t.Errorf("mark %d at %d of %q", i, w.Ends[i], w.Data)
				}
			}
		}
		if events != c.Want.Events {
			t.Errorf("%d events, %d as written down", events, c.Want.Events)
		}
	})
}

// TestScenesAreSound holds every case to what a server can do, and every dialect to a share of the scenes.
func TestScenesAreSound(t *testing.T) {
	all(t, func(t *testing.T, _ *Dialect, c *Case) {
		if c.Name == "" || c.Naive == "" || c.Says == "" || len(c.Traps) == 0 {
			t.Error("says too little")
		}
		at := c.HeadAt
		for i, w := range c.Writes {
			if w.At <= at || w.Data == "" {
				t.Errorf("write %d at %v follows one at %v", i, w.At, at)
			}
			at = w.At
		}
	})
	names := map[string]bool{}
	for _, s := range Scenes() {
		if names[s.Name] {
			t.Errorf("scene %q is there twice", s.Name)
		}
		names[s.Name] = true
	}
	for _, d := range Dialects() {
		if n := len(d.Cases()); n < 30 || d.Source == "" || DialectOf(d.Name) == nil {
			t.Errorf("%s: %d cases, source %q", d.Name, n, d.Source)
		}
	}
}

// TestDialects shows the bytes of a few scenes in every dialect.
func TestDialects(t *testing.T) {
	var b strings.Builder
	shown := map[string]bool{"reasoning first": true, "signs of life before and between": true, "one token": true, "a tool call, piece by piece": true, "overload inside the stream": true, "HTTP 429": true}
	for _, d := range Dialects() {
		fmt.Fprintf(&b, "=== %s (%s)\ncan: %v\n", d.Name, d.Source, d.Can)
		for _, c := range d.Cases() {
			if !shown[c.Name] {
				continue
			}
			fmt.Fprintf(&b, "--- %s\n", c.Name)
			for i, w := range c.Writes {
				if i < 4 || i > len(c.Writes)-3 {
					fmt.Fprintf(&b, "@%v %s", w.At, strings.TrimSuffix(w.Data, "\n"))
					if !strings.HasSuffix(w.Data, "\n\n") {
						b.WriteByte('\n')
					}
				}
			}
		}
	}
	file := filepath.Join("testdata", "dialects.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(want), "\r\n", "\n") != b.String() {
		t.Errorf("the bytes are not those of %s; write it with -update", file)
	}
}
