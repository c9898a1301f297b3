package openaicompat

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestSimulator runs the driver against the simulator, whose truth is known, with its misbehaviours.
func TestSimulator(t *testing.T) {
	const asked = 40
	for _, c := range []struct {
		traps  string
		tokens bool // each event states its tokens, and they add up to all
		kind   stream.Kind
		noCap  bool // no tokenizer is to be offered
	}{
		{traps: "", tokens: true, kind: stream.Content},
		{traps: "tokens-per-event=3", tokens: true, kind: stream.Content},
		{traps: "role-first=20,crlf,no-space,comments,trailing-space,split-json", tokens: true, kind: stream.Content},
		{traps: "reasoning=5,reasoning-field=reasoning_content", tokens: true, kind: stream.Reasoning},
		{traps: "reasoning=5,reasoning-field=reasoning", tokens: true, kind: stream.Reasoning},
		{traps: "reasoning=5,reasoning-field=thinking", tokens: true, kind: stream.Reasoning},
		{traps: "reasoning=5,reasoning-field=reasoning_text", tokens: true, kind: stream.Reasoning},
		{traps: "split-utf8", tokens: true, kind: stream.Content},
		{traps: "silent-tokens=3", tokens: true, kind: stream.Content},
		{traps: "long-line", tokens: true, kind: stream.Content},
		{traps: "refuse-usage", tokens: false, kind: stream.Content},
		{traps: "no-tokenize", tokens: true, kind: stream.Content, noCap: true},
		{traps: "tokenize-drift=20", tokens: true, kind: stream.Content, noCap: true},
		{traps: "wrong-prompt-count=7", tokens: true, kind: stream.Content, noCap: true},
	} {
		t.Run(c.traps, func(t *testing.T) {
			ses, srv := simulated(t, c.traps)
			if has := drivers.CapsOf(ses).Tokenizer != nil; has == c.noCap {
				t.Errorf("tokenizer: %v; %+v", has, ses.Info())
			}
			if i := ses.Info(); !i.Simulated || !i.IgnoresEOS || !i.ColdAsked || i.ContextMax == 0 {
				t.Errorf("info: %+v", i)
			}
			srv.ClearLog()
			rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("Tell me about lakes."), OutputTokens: asked, Slot: drivers.AnySlot})
			if err != nil {
				t.Fatal(err)
			}
			got, err := ses.Decode(rec)
			if err != nil {
				t.Fatal(err)
			}
			truth := srv.Log()[0]
			if got.Counts.Output.N != asked || !got.Counts.Output.Known() || got.Finish != stream.FinishLength || got.Counts.Cached.N != 0 || !got.Counts.Cached.Known() {
				t.Errorf("counts %+v, finish %s; truth %+v", got.Counts, got.Finish, truth)
			}
			if len(got.Events) == 0 || got.Events[0].Kind != c.kind {
				t.Fatalf("events %+v", got.Events)
			}
			sum := 0
			for _, e := range got.Events {
				if c.tokens {
					sum += e.Tokens
				}
			}
			if c.tokens && sum != asked {
				t.Errorf("the events hold %d tokens, want %d", sum, asked)
			}
		})
	}
}

func TestSimulatorFaults(t *testing.T) {
	for _, c := range []struct {
		traps        string
		stream, want error
	}{
		{"error-in-stream=8", nil, drivers.ErrServer},
		{"truncate=8", drivers.ErrReset, drivers.ErrTruncated},
		{"reset=8", drivers.ErrReset, drivers.ErrReset},
		{"garbage=8", nil, drivers.ErrProtocol},
		{"no-done", nil, nil},
		{"status=429,retry-after=2", nil, drivers.ErrRateLimited},
		{"gzip", drivers.ErrProtocol, drivers.ErrProtocol},
	} {
		t.Run(c.traps, func(t *testing.T) {
			ses, srv := simulated(t, "")
			traps, err := sim.ParseTraps(c.traps)
			if err != nil {
				t.Fatal(err)
			}
			srv.SetTraps(traps)
			rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("hi"), OutputTokens: 40, Slot: drivers.AnySlot})
			if !errors.Is(err, c.stream) {
				t.Errorf("stream: %v, want %v", err, c.stream)
			}
			if _, err = ses.Decode(rec); !errors.Is(err, c.want) {
				t.Errorf("decode: %v, want %v", err, c.want)
			}
		})
	}
}

// TestSimulatorTokenizes holds the tokenizer to the server's own count, tools and calls included.
func TestSimulatorTokenizes(t *testing.T) {
	ses, _ := simulated(t, "")
	tok := drivers.CapsOf(ses).Tokenizer
	for _, text := range []string{"a", "one two three", "東京 <b>"} {
		ids, err := tok.Tokenize(t.Context(), user(text))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user(text), OutputTokens: 2, Slot: drivers.AnySlot})
		if err != nil {
			t.Fatal(err)
		}
		got, err := ses.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stream.Count{N: len(ids), From: stream.Usage}, got.Counts.Prompt); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func simulated(t *testing.T, traps string) (drivers.Session, *sim.Server) {
	t.Helper()
	profile, err := sim.Lookup("fast")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := sim.ParseTraps(traps)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sim.Start(t.Context(), sim.Options{Profile: profile, Traps: parsed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	ses, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL(), Clock: clock.New(), Log: t.Logf}, drivers.Need{Context: 100, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	return ses, srv
}
