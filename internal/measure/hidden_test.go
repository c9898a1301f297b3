package measure

import (
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
		s := Request(rec, tr, Asked{OutputTokens: 100})
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
