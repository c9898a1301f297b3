package oracletest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// wrongOf says what a decoder makes wrong of a case that is replayed.
func wrongOf(c *oracle.Case, decode func(stream.Recording) (stream.Transcript, error)) []string {
	rec := judge.Recording(c, stream.Recording{Protocol: openai.ProtocolChat})
	tr, err := decode(rec)
	s := measure.Request(rec, tr, judge.Asked(c, err))
	out := []string{judge.WrongFlags(c, &s), judge.WrongError(c, err), cmp.Diff(judge.WantWords(c), judge.WordsOf(&s, &tr))}
	for _, f := range judge.Figures(c, &s, nil) {
		out = append(out, f.Wrong(true))
	}
	var said []string
	for _, w := range out {
		if w != "" {
			said = append(said, w)
		}
	}
	return said
}

// TestDialects replays the dialects that the decoder of OpenAI-like servers understands by itself. Those of other drivers are
// played by their own conformance tests.
func TestDialects(t *testing.T) {
	for _, name := range []string{
		"openai", "openai-completions", "vllm-chat", "vllm-completions", "vllm-completions-plain", "trtllm-chat", "trtllm-completions", "openrouter", "together", "deepseek", "mlx-server",
	} {
		d := oracle.DialectOf(name)
		if d == nil {
			t.Fatalf("no dialect %s", name)
		}
		for _, c := range d.Cases() {
			for _, w := range wrongOf(&c, openai.Decode) {
				t.Errorf("%s, %s: %s", name, c.Name, w)
			}
		}
	}
}

// TestMistakesAreNoticed shows that decoders with one mistake each are found out by the cases of a dialect.
func TestMistakesAreNoticed(t *testing.T) {
	for _, mistake := range []struct {
		name, dialect string
		make          func(*stream.Transcript)
	}{
		{"an output token too many", "openai", func(tr *stream.Transcript) { tr.Counts.Output.N++ }},
		{"an absent cached count for 0", "together", func(tr *stream.Transcript) { tr.Counts.Cached = stream.Count{From: stream.Usage} }},
		{"an event for a token", "openai", func(tr *stream.Transcript) {
			for i := range tr.Events {
				tr.Events[i].Tokens = 1
			}
		}},
		{"the first event left out", "openai", func(tr *stream.Transcript) { tr.Events = tr.Events[min(len(tr.Events), 1):] }},
		{"reasoning for the answer", "openai", func(tr *stream.Transcript) {
			for i := range tr.Events {
				tr.Events[i].Kind = stream.Content
			}
		}},
		{"silent tokens left out", "vllm-completions", func(tr *stream.Transcript) {
			kept := tr.Events[:0]
			for _, e := range tr.Events {
				if e.Kind != stream.Silent {
					kept = append(kept, e)
				}
			}
			tr.Events = kept
		}},
		{"stamps of the line before", "openai", func(tr *stream.Transcript) {
			for i := range tr.Events {
				tr.Events[i].At -= time.Millisecond
			}
		}},
		{"the finish reason", "openai", func(tr *stream.Transcript) { tr.Finish = stream.FinishLength }},
	} {
		noticed := 0
		for _, c := range oracle.DialectOf(mistake.dialect).Cases() {
			if len(wrongOf(&c, func(rec stream.Recording) (stream.Transcript, error) {
				tr, err := openai.Decode(rec)
				mistake.make(&tr)
				return tr, err
			})) > 0 {
				noticed++
			}
		}
		if noticed == 0 {
			t.Errorf("%s: no case of %s notices", mistake.name, mistake.dialect)
		}
	}
	// An error that is swallowed.
	for _, c := range oracle.DialectOf("openai").Cases() {
		if c.Want.Err != nil && len(wrongOf(&c, func(rec stream.Recording) (stream.Transcript, error) {
			tr, _ := openai.Decode(rec)
			return tr, nil
		})) == 0 {
			t.Errorf("%s: a decoder that swallows the error is not noticed", c.Name)
		}
	}
}
