package hosted

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// TestLive asks each service for one short answer, where LLM_SPEED_LIVE_OPENAI and the like name a model of it; the key is
// taken from the service's own variable. It costs about a hundred tokens each.
func TestLive(t *testing.T) {
	for _, v := range services() {
		t.Run(v.name, func(t *testing.T) {
			name := "LLM_SPEED_LIVE_" + strings.ToUpper(v.name)
			model := os.Getenv(name)
			if model == "" {
				t.Skipf("costs money: %s=MODEL and %s switch it on", name, v.keys)
			}
			cfg := drivers.Config{Model: model, Env: os.Getenv, Clock: clock.New(), Log: t.Logf}
			s, err := open(t, v.name, cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", s.Info())
			r := hello()
			r.Prompt.Messages[0].Content, r.OutputTokens = "Count from one to fifty in words.", 48
			r.FirstByteWithin, r.IdleWithin = time.Minute, time.Minute
			for range 3 {
				rec, err := s.Stream(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				tr, err := s.Decode(rec)
				if changed, again := drivers.CapsOf(s).Adapter.Adapt(err); again {
					t.Log(changed)
					continue
				}
				if err != nil || !tr.Counts.Prompt.Known() || !tr.Counts.Output.Known() || len(tr.Events) == 0 && tr.Counts.Reasoning.N == 0 {
					t.Errorf("%v, %+v, %d events", err, tr.Counts, len(tr.Events))
				}
				wait, why := drivers.CapsOf(s).Pacer.Pace(1, 1000, 100)
				t.Logf("counts %+v, server %+v, finish %s, model %s, next in %v %s, extra %s", tr.Counts, tr.Server, tr.Finish, tr.Model, wait, why, tr.Extra)
				return
			}
			t.Error("refused again and again")
		})
	}
}
