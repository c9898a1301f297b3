package mlx

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestLive measures a real MLX: LLM_SPEED_LIVE_MLX is the folder or name of a model, for the helper, or the URL of a running
// mlx_lm.server.
func TestLive(t *testing.T) {
	where := os.Getenv("LLM_SPEED_LIVE_MLX")
	if where == "" {
		t.Skip("LLM_SPEED_LIVE_MLX names no model and no server")
	}
	c := drivers.Config{Model: where, Options: map[string]string{optHelper: "always"}, Env: os.Getenv, Clock: clock.New(), Log: t.Logf}
	if strings.HasPrefix(where, "http") {
		c.URL, c.Model = where, ""
	}
	for _, parallel := range []int{1, 4} {
		ses, err := Spec().Open(t.Context(), c, drivers.Need{Context: 2048, Parallel: parallel})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ses.Close() })
		t.Logf("%+v", ses.Info())
		const tokens = 64
		r := ask("Answer with the single word: yes. "+strings.Repeat("The rest of this is only here to be long. ", 40), tokens)
		r.Slot, r.FirstByteWithin = 0, 5*time.Minute
		for i, reuse := range []bool{false, true, true, false} {
			r.Reuse = reuse
			rec, tr := drivertest.Streamed(t, ses, r)
			t.Logf("reuse %v: %+v, finish %s, %d events, TTFT %v, server %+v, %s", reuse, tr.Counts, tr.Finish, len(tr.Events), tr.Events[0].At-rec.Send, tr.Server, tr.Extra)
			if c.URL != "" {
				continue
			}
			warm := i == 2 && parallel == 1
			if tr.Counts.Output != used(tokens) || tr.Finish != stream.FinishLength || len(tr.Disagree) > 0 || warm != (tr.Counts.Cached.N > 0) {
				t.Errorf("counts %+v, finish %q, disagree %v", tr.Counts, tr.Finish, tr.Disagree)
			}
			ids, err := ses.(drivers.Tokenizer).Tokenize(t.Context(), r.Prompt)
			if err != nil || len(ids) != tr.Counts.Prompt.N {
				t.Errorf("tokenize: %v, %d ids", err, len(ids))
			}
			if tr.Server.Decode <= 0 || tr.Server.DecodeTokens != tokens-tr.Events[0].Tokens {
				t.Errorf("server: %+v", tr.Server)
			}
		}
		_ = ses.Close()
	}
}
