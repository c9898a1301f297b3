package measure

import (
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// A server that lies is told so, with the two figures that disagree; one that does not is left alone.
func TestAServerThatLies(t *testing.T) {
	usage := func(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
	honest := func() stream.Transcript {
		return stream.Transcript{
			Events: run(100, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), Finish: stream.FinishLength,
			Counts: stream.Counts{Prompt: usage(500), Cached: usage(0), Output: usage(100), Reasoning: usage(0)},
			Server: stream.ServerTiming{PromptTokens: usage(500), Prefill: 480 * msec, DecodeTokens: 99, Decode: 990 * msec},
		}
	}
	for _, c := range []struct {
		name string
		lie  func(*stream.Transcript)
		want []string // both figures; none: no flag
	}{
		{"honest", func(*stream.Transcript) {}, nil},
		{"more tokens than bytes", func(tr *stream.Transcript) { tr.Counts.Output.N = 2000 }, []string{"2000", "500 bytes"}},
		{"no tokens", func(tr *stream.Transcript) { tr.Counts.Output.N = 0 }, []string{"no output tokens", "100 events"}},
		{"more cached than there is", func(tr *stream.Transcript) { tr.Counts.Cached.N = 501 }, []string{"500", "501"}},
		{"more reasoning than output", func(tr *stream.Transcript) { tr.Counts.Reasoning.N = 101 }, []string{"100", "101"}},
		{"prefill longer than TTFT", func(tr *stream.Transcript) { tr.Server.Prefill = 900 * msec }, []string{"900 ms", "500 ms"}},
		{"decode longer than the stream", func(tr *stream.Transcript) { tr.Server.Decode = 10 * time.Second }, []string{"1e+04 ms"}},
		{"counter ran backwards", func(tr *stream.Transcript) { tr.Disagree = []string{"3 after 5"} }, []string{"3 after 5"}},
		{"events hold more", func(tr *stream.Transcript) {
			for i := range tr.Events {
				tr.Events[i].Tokens = 2
			}
		}, []string{"100", "200"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := honest()
			c.lie(&tr)
			rec := sent()
			rec.End = 2600 * msec
			s := Request(rec, tr, Asked{OutputTokens: 100})
			evidence := ""
			for _, f := range s.Flags {
				if f.Name == Contradiction {
					evidence += f.Evidence + "; "
				}
			}
			if (evidence != "") != (c.want != nil) {
				t.Fatalf("evidence is %q", evidence)
			}
			for _, w := range c.want {
				if !strings.Contains(evidence, w) {
					t.Errorf("evidence is %q; want %q in it", evidence, w)
				}
			}
		})
	}
}
