package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/engine"
)

func TestLiveLine(t *testing.T) {
	at := time.Unix(100, 0)
	for _, c := range []struct {
		name string
		s    engine.Snapshot
		tps  float64
		want string
	}{
		{"before the first row", engine.Snapshot{Doing: "starting server"}, 0, "| starting server"},
		{
			"one stream", engine.Snapshot{Row: "W3/context=32768", Name: "long-context-decay", Of: 1, Pass: 1, Doing: "streaming", Streams: 1, Elapsed: 30 * time.Second, Left: 90 * time.Second, Rows: 10},
			151.84, "███░░░░░░░░░ W3/context=32768 long-context-decay · streaming · ≈ 151.8 tok/s · 0:30, about 1:30 left",
		},
		{
			"passes, many streams, no prediction", engine.Snapshot{Row: "W4/batch=8", Name: "concurrent", Of: 3, Pass: 2, Streams: 8, Elapsed: 61 * time.Second, Rows: 4, RowsDone: 2},
			890, "██████░░░░░░ W4/batch=8 concurrent · pass 2 of 3 · 8 streams · ≈ 890.0 tok/s · 1:01",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := liveLine(c.s, c.tps, at)
			if c.s.Row == "" {
				got = "| " + strings.SplitN(got, " ", 2)[1] // the first mark turns with the time
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSpeedometer(t *testing.T) {
	var m speedometer
	at := time.Unix(0, 0)
	var got float64
	for i := range 10 {
		got = m.note(at.Add(time.Duration(i)*200*time.Millisecond), int64(i*40))
	}
	if got != 200 {
		t.Errorf("rate = %v, want 200", got)
	}
	if got = m.note(at.Add(3*time.Second), 3); got != 0 {
		t.Errorf("rate after streams have closed = %v, want 0 until a second look", got)
	}
	if got = m.note(at.Add(3500*time.Millisecond), 53); got != 100 {
		t.Errorf("rate of new streams = %v, want 100", got)
	}
}

// On a terminal the live line is taken away before a finished line, and at the end; without one only finished lines come.
func TestView(t *testing.T) {
	for _, tty := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			a := &app{&Process{Stderr: &out, ErrTTY: tty, Env: func(string) string { return "" }, Width: func() int { return 60 }}}
			v := a.newView()
			time.Sleep(time.Second)
			v.say("row %d done", 1)
			v.close()
			v.close()
			text := out.String()
			if !tty {
				if text != "row 1 done\n" {
					t.Errorf("without a terminal: %q", text)
				}
				return
			}
			if !strings.Contains(text, "\r\x1b[Jrow 1 done\n") || !strings.HasSuffix(text, "\r\x1b[J") {
				t.Errorf("on a terminal: %q", text)
			}
		})
	}
}

// However narrow the terminal, the live line takes less than its columns and is drawn with wrapping off; one that became
// narrower has all rows of the old line cleared.
func TestViewNarrow(t *testing.T) {
	var out bytes.Buffer
	width := 44
	a := &app{&Process{Stderr: &out, Width: func() int { return width }}}
	v := &view{a: a, live: &engine.Live{}}
	s := engine.Snapshot{Row: "W3/context=131072", Name: "長い文脈\nの減衰 long-context-decay", Of: 3, Pass: 1, Doing: "streaming", Streams: 1, Elapsed: time.Minute}
	for _, n := range []int{200, 44, 43, 20, 5, 1} {
		line := clip(liveLine(s, 1234, time.Unix(100, 0)), n)
		if columns(line) > n || strings.Contains(line, "\n") {
			t.Errorf("at %d columns: %q takes %d", n, line, columns(line))
		}
	}
	if got := clip("長い文脈", 8); got != "長い文脈" {
		t.Errorf("a line that fits was cut to %q", got)
	}
	v.put(strings.Repeat("x", 43))
	if text := out.String(); !strings.HasPrefix(text, "\r\x1b[J\x1b[?7l") || !strings.HasSuffix(text, "x\x1b[?7h") {
		t.Errorf("drawn as %q", text)
	}
	out.Reset()
	width = 20
	v.clear()
	if text := out.String(); text != "\x1b[2A\r\x1b[J" {
		t.Errorf("a line of 43 columns on a terminal that now has 20 is cleared with %q", text)
	}
}
