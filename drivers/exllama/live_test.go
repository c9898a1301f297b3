package exllama

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestLive measures the real libraries: LLM_SPEED_LIVE_EXLLAMAV2 and LLM_SPEED_LIVE_EXLLAMAV3 are the folder or name of a model.
func TestLive(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		variable := "LLM_SPEED_LIVE_" + strings.ToUpper(f.name)
		model := os.Getenv(variable)
		if model == "" {
			t.Skip(variable + " names no model")
		}
		c := config(model)
		c.Log = t.Logf
		ses, err := f.spec().Open(t.Context(), c, drivers.Need{Context: 4096, Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ses.Close() })
		t.Logf("%+v", ses.Info())
		const tokens = 64
		r := ask("Answer with the single word: yes. "+strings.Repeat("The rest of this is only here to be long. ", 60), tokens)
		r.FirstByteWithin = 5 * time.Minute
		for i, reuse := range []bool{false, true, true, false} {
			r.Reuse = reuse
			rec, tr := drivertest.Streamed(t, ses, r)
			t.Logf("reuse %v: %+v, finish %s, %d events, TTFT %v, server %+v, %s", reuse, tr.Counts, tr.Finish, len(tr.Events), tr.Events[0].At-rec.Send, tr.Server, tr.Extra)
			warm := i == 1 || i == 2 // a cold stream's pages stay until the next one empties the table
			if tr.Counts.Output != used(tokens) || tr.Finish != stream.FinishLength || len(tr.Disagree) > 0 || warm != (tr.Counts.Cached.N > 0) {
				t.Errorf("counts %+v, finish %q, disagree %v", tr.Counts, tr.Finish, tr.Disagree)
			}
			ids, err := ses.(drivers.Tokenizer).Tokenize(t.Context(), r.Prompt)
			if err != nil || len(ids) != tr.Counts.Prompt.N {
				t.Errorf("tokenize: %v, %d ids", err, len(ids))
			}
		}
	})
}
