package measure

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestHiddenThinking: 40 events of an answer and 10 of a summary of the thinking, for 100 tokens of which nobody says how many
// the answer has. The text would bear 100 tokens, so that only the driver's word keeps a wrong rate away.
func TestHiddenThinking(t *testing.T) {
	rec := stream.Recording{Send: time.Millisecond}
	var events []stream.Event
	for i := range 50 {
		kind := stream.Content
		if i < 10 {
			kind = stream.Reasoning
		}
		at := time.Duration(10*(i+1)) * time.Millisecond
		rec.Reads = append(rec.Reads, stream.Read{End: i + 1, At: at})
		events = append(events, stream.Event{At: at, Read: i, Kind: kind, Text: "some words ", Tokens: stream.NotStated})
	}
	for _, hidden := range []bool{false, true} {
		tr := stream.Transcript{Events: events, Finish: stream.FinishLength, Counts: stream.Counts{Output: stream.Count{N: 100, From: stream.Usage}, Hidden: hidden}}
		s := Request(rec, tr, Asked{OutputTokens: 100, TextTokens: 100})
		if s.Decode.Known == hidden || s.AnswerTPS.Known == hidden || s.TPOT.Known == hidden || (len(s.ITL) == 0) != hidden {
			t.Errorf("hidden %v: decode %+v, answer %+v, %d latencies", hidden, s.Decode, s.AnswerTPS, len(s.ITL))
		}
		if hidden && !strings.Contains(s.Decode.Why, "how many of its 100 tokens") {
			t.Errorf("why: %s", s.Decode.Why)
		}
		if !s.TTFT.Known || !s.TTFA.Known || s.TTFA.X <= s.TTFT.X || !s.Wall.Known {
			t.Errorf("hidden %v: TTFT %+v, TTFA %+v, wall %+v", hidden, s.TTFT, s.TTFA, s.Wall)
		}
	}
}

// TestHiddenByTheServersClock: 64 tokens at 10 ms each, ten of which (first, last, or spread) have no event. The text would
// bear 64, so that only the time that the server states tells tokens outside the window from those within it.
func TestHiddenByTheServersClock(t *testing.T) {
	for name, c := range map[string]struct {
		hidden func(i int) bool
		server time.Duration // of 63 tokens; 0: not stated
		text   int           // tokens of the text by the server's own count; 0: not counted
		why    string        // why there is no rate; empty: there is one
		over   float64       // by how much it may be too high
	}{
		"thinking that is not shown":            {func(i int) bool { return i < 10 }, 630 * time.Millisecond, 0, "the server made tokens for 630 ms", 0},
		"marks after the end":                   {func(i int) bool { return i >= 54 }, 630 * time.Millisecond, 0, "the server made tokens for 630 ms", 0},
		"held back within the stream":           {func(i int) bool { return i%6 == 3 }, 630 * time.Millisecond, 0, "", 63.0/62 - 1},
		"a server that states no time":          {func(i int) bool { return i < 10 }, 0, 0, "64 tokens for 54 events", 0},
		"no time, few hidden":                   {func(i int) bool { return i < 4 }, 0, 0, "", 64.0/60 - 1},
		"no time, and the text is counted":      {func(i int) bool { return i < 10 }, 0, 54, "the streamed text has 54", 0},
		"no time, two an event, text counted":   {func(i int) bool { return i%2 == 1 }, 0, 64, "", 0},
		"no time, text counted a little lower":  {func(i int) bool { return i%2 == 1 }, 0, 62, "", 64.0/62 - 1},
		"no time, text counted a little higher": {func(i int) bool { return i%2 == 1 }, 0, 66, "", 0},
		"one token late on the wire":            {func(i int) bool { return i < 1 || i == 30 }, 630 * time.Millisecond, 0, "", 63.0/62 - 1},
		"every token has its event":             {func(int) bool { return false }, 630 * time.Millisecond, 0, "", 0},
		"times longer than the stream":          {func(i int) bool { return i < 10 }, 700 * time.Millisecond, 0, "64 tokens for 54 events", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rec := stream.Recording{Send: time.Millisecond, End: 645 * time.Millisecond}
			var events []stream.Event
			for i := range 64 {
				if c.hidden(i) {
					continue
				}
				at := time.Duration(10*(i+1)) * time.Millisecond
				rec.Reads = append(rec.Reads, stream.Read{End: len(events) + 1, At: at})
				events = append(events, stream.Event{At: at, Read: len(events), Kind: stream.Content, Text: "word ", Tokens: stream.NotStated})
			}
			tr := stream.Transcript{Events: events, Finish: stream.FinishLength, Counts: stream.Counts{Output: stream.Count{N: 64, From: stream.TimingBlock}}}
			if c.server > 0 {
				tr.Server = stream.ServerTiming{Decode: c.server, DecodeTokens: 63}
			}
			s := Request(rec, tr, Asked{OutputTokens: 64, TextTokens: c.text})
			known := c.why == ""
			if s.Decode.Known != known || s.Window.Known != known || (len(s.ITL) > 0) != known {
				t.Errorf("decode %+v, window %+v, %d latencies", s.Decode, s.Window, len(s.ITL))
			}
			if !strings.Contains(s.Decode.Why, c.why) || s.Over < c.over-1e-9 || s.Over > c.over+1e-9 {
				t.Errorf("why: %s; over %v, want %v", s.Decode.Why, s.Over, c.over)
			}
			// Nothing has to be counted where a clock, or the number of events, tells.
			if want := len(events) < 64 && (c.server == 0 || c.server > 645*time.Millisecond); WantsTextCount(rec, tr) != want {
				t.Errorf("the text's tokens are wanted: %v, should be %v", !want, want)
			}
			if !s.TTFT.Known || !s.Wall.Known {
				t.Errorf("TTFT %+v, wall %+v", s.TTFT, s.Wall)
			}
		})
	}
}

// TestFirstTokensMakeItExact: events of several tokens which nobody counts, of which the first holds fewer or more than the others,
// 4 ms a token. An even spread is off by what the first event has too much or too little; its own count makes the rate that of the
// timetable.
func TestFirstTokensMakeItExact(t *testing.T) {
	for _, c := range []struct {
		name         string
		events       []int // tokens of each, the first one's in front
		first, reads int   // told; how many events the first read has
		even         bool  // the count is of no use: spread evenly, or null
	}{
		{"one, then fours", append([]int{1}, several(4, 33)...), 1, 1, false},
		{"a held start", append([]int{30}, several(3, 40)...), 30, 1, false},
		{"two events in the first read", append([]int{1, 6}, several(4, 33)...), 7, 2, false},
		{"none told", append([]int{1}, several(4, 33)...), 0, 1, true},
		{"more than its text has bytes", append([]int{1}, several(4, 33)...), 500, 1, true},
		{"nothing left for the others", append([]int{1}, several(1, 20)...), 21, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const each, began = 4 * time.Millisecond, time.Second
			rec := stream.Recording{Send: began, Sched: began, FirstByte: began, Status: 200}
			var tr stream.Transcript
			n, first := 0, 0
			for i, k := range c.events {
				n += k
				read := max(i-c.reads+1, 0)
				if read == 0 {
					first += k
				}
				tr.Events = append(tr.Events, stream.Event{Read: read, Kind: stream.Content, Text: strings.Repeat(" word", k), Tokens: stream.NotStated})
			}
			at := began + 100*time.Millisecond
			for i, k := range c.events {
				if i >= c.reads {
					at += time.Duration(k) * each
				}
				tr.Events[i].At = at
			}
			rec.End = at
			tr.Counts.Output, tr.Finish = stream.Count{N: n, From: stream.Usage}, stream.FinishLength
			if c.first > 0 && c.first == first && !WantsFirstCount(tr) {
				t.Error("a count of the first text is not wanted")
			}
			s := Request(rec, tr, Asked{OutputTokens: n, TextTokens: n, FirstTokens: c.first})
			exact := s.Decode.Known && math.Abs(s.Decode.X-250) < 1e-6
			if exact == c.even && n != len(c.events) {
				t.Errorf("decode %+v of 250 tok/s, first %+v", s.Decode, s.FirstTokens)
			}
			if !c.even && (!s.FirstTokens.Known || s.FirstTokens.X != float64(first) || s.Window.X != float64(n-first) || s.TokensHow != Estimated) {
				t.Errorf("first %+v, window %+v, %s", s.FirstTokens, s.Window, s.TokensHow)
			}
		})
	}
}

func several(k, n int) []int { return slices.Repeat([]int{k}, n) }

// TestFirstCountIsWantedWhereItTells: not where a token is an event, not for one part in a thousand, not without a rate.
func TestFirstCountIsWantedWhereItTells(t *testing.T) {
	of := func(n, m int, text func(i int) string) stream.Transcript {
		tr := stream.Transcript{Finish: stream.FinishLength, Counts: stream.Counts{Output: stream.Count{N: n, From: stream.Usage}}}
		for i := range m {
			tr.Events = append(tr.Events, stream.Event{At: time.Duration(i+1) * time.Millisecond, Read: i, Kind: stream.Content, Text: text(i), Tokens: stream.NotStated})
		}
		return tr
	}
	alike := func(int) string { return " some words here and" }
	long := func(i int) string { return strings.Repeat(" some words", 1+20*max(1-i, 0)) }
	for name, c := range map[string]struct {
		tr   stream.Transcript
		want bool
	}{
		"a token an event":       {of(100, 100, alike), false},
		"four an event":          {of(100, 25, alike), true},
		"four of four thousand":  {of(4000, 1000, alike), false},
		"a long start":           {of(110, 100, long), true},
		"one event":              {of(100, 1, func(int) string { return strings.Repeat(" word", 100) }), false},
		"more tokens than bytes": {of(1000, 10, alike), false},
		"not counted":            {stream.Transcript{Events: of(1, 9, alike).Events}, false},
	} {
		if got := WantsFirstCount(c.tr); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
