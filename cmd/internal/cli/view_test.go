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
			if !strings.Contains(text, "\r\x1b[Krow 1 done\n") || !strings.HasSuffix(text, "\r\x1b[K") {
				t.Errorf("on a terminal: %q", text)
			}
		})
	}
}
