package tabbyapi

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// TestLive measures a real server, whose URL is in LLM_SPEED_LIVE_TABBYAPI (its key in LLM_SPEED_LIVE_TABBYAPI_KEY).
func TestLive(t *testing.T) {
	url := os.Getenv("LLM_SPEED_LIVE_TABBYAPI")
	if url == "" {
		t.Skip("LLM_SPEED_LIVE_TABBYAPI is not set")
	}
	c := drivers.Config{URL: url, APIKey: drivers.NewSecret(os.Getenv("LLM_SPEED_LIVE_TABBYAPI_KEY")), Clock: clock.New(), Log: t.Logf, Env: os.Getenv}
	ses, err := Spec().Open(t.Context(), c, drivers.Need{Context: 4096, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close()
	t.Logf("%+v", ses.Info())
	const tokens = 64
	r := drivers.Request{
		Prompt: user(time.Now().Format(time.RFC3339Nano) + ". Tell a long story of a lake. " + strings.Repeat("It lay still. ", 200)), OutputTokens: tokens, Slot: drivers.AnySlot,
		FirstByteWithin: time.Minute, IdleWithin: time.Minute,
	}
	for _, reuse := range []bool{false, true, true} {
		r.Reuse = reuse
		rec, err := ses.Stream(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ses.Decode(rec)
		if err != nil {
			t.Fatalf("%v\n%s", err, rec.Data)
		}
		t.Logf("reuse %v: %+v, %d events, %s, %+v", reuse, got.Counts, len(got.Events), got.Finish, got.Server)
		if !got.Counts.Prompt.Known() || !got.Counts.Output.Known() || len(got.Events) < 2 || ses.Info().IgnoresEOS && got.Counts.Output.N != tokens {
			t.Errorf("%+v", got.Counts)
		}
		if !reuse && ses.Info().ColdAsked && got.Counts.Cached.Known() && got.Counts.Cached.N > 0 {
			t.Errorf("a cold prompt had %d tokens cached", got.Counts.Cached.N)
		}
	}
	if tok := drivers.CapsOf(ses).Tokenizer; tok != nil {
		ids, err := tok.Tokenize(t.Context(), r.Prompt)
		t.Logf("%d tokens by the tokenizer, %v", len(ids), err)
	}
}
