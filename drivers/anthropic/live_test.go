package anthropic

import (
	"os"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// TestLive asks for one short answer, where LLM_SPEED_LIVE_ANTHROPIC names a model; the key is taken from ANTHROPIC_API_KEY.
// It costs about a hundred tokens.
func TestLive(t *testing.T) {
	model := os.Getenv("LLM_SPEED_LIVE_ANTHROPIC")
	if model == "" {
		t.Skip("costs money: LLM_SPEED_LIVE_ANTHROPIC=MODEL and " + keyName + " switch it on")
	}
	s, err := Spec().Open(t.Context(), drivers.Config{Model: model, Env: os.Getenv, Clock: clock.New(), Log: t.Logf}, drivers.Need{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	caps := drivers.CapsOf(s)
	r := drivers.Request{
		Prompt:       drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "Count from one to fifty in words."}}},
		OutputTokens: 48, Slot: drivers.AnySlot, FirstByteWithin: time.Minute, IdleWithin: time.Minute,
	}
	counted, err := caps.Counter.CountTokens(t.Context(), r.Prompt)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		rec, err := s.Stream(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := s.Decode(rec)
		if changed, again := caps.Adapter.Adapt(err); again {
			t.Log(changed)
			continue
		}
		if err != nil || !tr.Counts.Prompt.Known() || !tr.Counts.Cached.Known() || !tr.Counts.Output.Known() || len(tr.Events) == 0 {
			t.Errorf("%v, %+v, %d events", err, tr.Counts, len(tr.Events))
		}
		if d := tr.Counts.Prompt.N - counted; d < -8 || d > 8 {
			t.Errorf("counted %d beforehand, the answer says %d", counted, tr.Counts.Prompt.N)
		}
		wait, why := caps.Pacer.Pace(1, 1000, 100)
		t.Logf("counts %+v, finish %s, model %s, next in %v %s, extra %s", tr.Counts, tr.Finish, tr.Model, wait, why, tr.Extra)
		return
	}
	t.Error("refused again and again")
}
