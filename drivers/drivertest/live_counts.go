package drivertest

import (
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// asked is a conversation of one turn.
func asked(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// LiveCounts measures a real server whose URL is in the variable env (its key in env_KEY), a cold prompt and the same one
// twice again: counts are known, the output is as long as asked, a cold prompt was not cached. Without env it is skipped.
func LiveCounts(t *testing.T, spec drivers.Spec, env string) {
	t.Helper()
	url := getenv(env)
	if url == "" {
		t.Skip(env + " is not set")
	}
	c := drivers.Config{URL: url, APIKey: drivers.NewSecret(getenv(env + "_KEY")), Clock: clock.New(), Log: t.Logf, Env: getenv}
	ses, err := spec.Open(t.Context(), c, drivers.Need{Context: 4096, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close()
	t.Logf("%+v", ses.Info())
	const tokens = 64
	r := drivers.Request{
		Prompt: asked(time.Now().Format(time.RFC3339Nano) + ". Tell a long story of a lake. " + strings.Repeat("It lay still. ", 200)), OutputTokens: tokens, Slot: drivers.AnySlot,
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
