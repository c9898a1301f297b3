package measure

import (
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// By how much a time that the server states may be longer than the time between the client's stamps that contains it,
// before one of both is wrong: clocks, and what the server counts to the one side or the other of a token, differ by a little.
const (
	longerShare = 0.02
	longerTime  = 5 * time.Millisecond
)

// contradictions lists figures of one request that can't both be true, with both numbers. A server that lies, or whose
// counters are broken, shows here; nothing is corrected.
func (s *Sample) contradictions(tr stream.Transcript) []string {
	out := append([]string(nil), tr.Disagree...)
	if s.Failed() {
		return out // half a stream agrees with nothing
	}
	add := func(what string, args ...any) { out = append(out, fmt.Sprintf(what, args...)) }
	if s.Cached.Known() && s.Prompt.Known() && s.Cached.N > s.Prompt.N {
		add("%d prompt tokens, and %d of them cached", s.Prompt.N, s.Cached.N)
	}
	if s.Reasoning.Known() && countable(s.Output) && s.Reasoning.N > s.Output.N {
		add("%d output tokens, and %d of them reasoning", s.Output.N, s.Reasoning.N)
	}
	t := count(tr.Events)
	if n := s.Output.N; countable(s.Output) {
		answer := float64(n) - t.silent - float64(s.Reasoning.N) // what is streamed of reasoning may be a summary
		switch {
		case t.allStated && t.stated > float64(n)+slack(float64(n)):
			add("usage states %d output tokens, the events hold %.0f", n, t.stated)
		case n == 0 && t.m > 0:
			add("usage states no output tokens, and %d events of text came", t.m)
		case t.answer > 0 && s.Reasoning.Known() && answer > t.answerB+slack(float64(n)):
			add("usage states %.0f tokens beside the reasoning, and the answer has %.0f bytes: no token is shorter than a byte", answer, t.answerB)
		}
	}
	longer := func(server, client time.Duration) bool {
		return server > client+longerTime+time.Duration(longerShare*float64(client))
	}
	if first := s.First - s.Send; s.First > 0 && tr.Server.Prefill > 0 && longer(tr.Server.Prefill, first) {
		add("the server states %.4g ms of prefill, and the first text came after %.4g ms", ms(tr.Server.Prefill), ms(first))
	}
	if end := s.End - s.Send; s.End > 0 && tr.Server.Decode > 0 && longer(tr.Server.Decode, end) {
		add("the server states %.4g ms of decoding, and the whole stream took %.4g ms", ms(tr.Server.Decode), ms(end))
	}
	return out
}
