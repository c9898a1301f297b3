package vllm

import (
	"os"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestLive runs against the vLLM at LLM_SPEED_LIVE_VLLM, a base URL.
func TestLive(t *testing.T) {
	url := os.Getenv("LLM_SPEED_LIVE_VLLM")
	if url == "" {
		t.Skip("LLM_SPEED_LIVE_VLLM names no server")
	}
	s, err := Spec().Open(t.Context(), drivers.Config{URL: url, APIKey: drivers.NewSecret(os.Getenv("VLLM_API_KEY")), Clock: clock.New(), Log: t.Logf, Env: os.Getenv}, drivers.Need{Context: 2048, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	i, caps := s.Info(), drivers.CapsOf(s)
	t.Logf("%+v", i)
	p, sent := filler(500), 0
	if caps.Tokenizer != nil {
		ids, err := caps.Tokenizer.Tokenize(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		sent = len(ids)
	}
	for n, c := range []struct {
		reuse bool
		hits  bool
	}{{false, false}, {false, false}, {true, false}, {true, true}} {
		tr := drivertest.Said(t, s, drivers.Request{Prompt: p, OutputTokens: 64, Reuse: c.reuse, Slot: drivers.AnySlot})
		if tr.Counts.Output.N != 64 || tr.Finish != stream.FinishLength || len(tr.Disagree) > 0 || sent > 0 && tr.Counts.Prompt.N != sent {
			t.Errorf("request %d: %+v, finish %s, %d ids, %v", n, tr.Counts, tr.Finish, sent, tr.Disagree)
		}
		total := 0
		for _, e := range tr.Events {
			total += e.Tokens
		}
		if total != 64 {
			t.Errorf("request %d: the events state %d tokens", n, total)
		}
		if i.ColdAsked && tr.Counts.Cached.Known() && (tr.Counts.Cached.N > max(i.CacheBlock, i.Template)) != c.hits {
			t.Errorf("request %d: %d cached tokens", n, tr.Counts.Cached.N)
		}
	}
	if a, err := caps.Activity.Activity(t.Context()); err != nil || a.Running > 0 {
		t.Errorf("activity %+v, %v", a, err)
	}
}
