package drivertest

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// record makes the live checks write what they read: go test ./drivers/NAME -run Live -record.
var record = flag.Bool("record", false, "write what a live server answers to testdata/recorded")

// Recording reports whether tests against real servers are to write what they read.
func Recording() bool { return *record }

// getenv reads the switches of tests against real servers.
func getenv(name string) string { return os.Getenv(name) } //nolint:forbidigo // this package is for tests only

// Live is a real server that a driver is tried on.
type Live struct {
	Spec    drivers.Spec
	Env     string            // variable that holds the server's base URL, as LLM_SPEED_LIVE_VLLM; the checks are skipped without it
	InCI    bool              // CI installs the server: its absence is a failure there
	Model   string            // Config.Model; may be empty
	Options map[string]string // Config.Options
	Output  int               // tokens to ask for; 64 where 0
}

// live is an open session to a real server.
type live struct {
	*Live
	ses drivers.Session
}

// RunLive runs the checks that need a real server, each as a subtest.
func RunLive(t *testing.T, l Live) {
	url := getenv(l.Env)
	if url == "" {
		if l.InCI && getenv("CI") == "true" {
			t.Fatalf("%s is not set, and CI installs this server", l.Env)
		}
		t.Skipf("%s names no server", l.Env)
	}
	if l.Output == 0 {
		l.Output = 64
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ses, err := l.Spec.Open(ctx, drivers.Config{URL: url, Model: l.Model, APIKey: drivers.NewSecret(getenv("LLM_SPEED_API_KEY")), Options: l.Options,
		Env: getenv, Clock: clock.New(), Log: t.Logf}, drivers.Need{Context: 4096, Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ses.Close() }()
	t.Logf("%+v", ses.Info())
	x := &live{&l, ses}
	for _, c := range []struct {
		name  string
		check func(*testing.T)
	}{
		{"info", x.info}, {"lengths", x.lengths}, {"cold", x.cold}, {"reused", x.reused}, {"prompt length", x.promptLength}, {"one token", x.one},
		{"cancel", x.cancel}, {"two at once", x.two}, {"abilities", x.able},
	} {
		t.Run(c.name, c.check)
	}
}

// long is a prompt of some hundred tokens that no other begins like.
func long(nonce string) drivers.Prompt {
	text := nonce + ": " + strings.Repeat("The water of the lake is quiet, and the stones below it are green. ", 20) + "Tell a long story about this lake."
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

// say runs one stream, and keeps it where that was asked for.
func (x *live) say(t *testing.T, name string, r drivers.Request) (stream.Recording, stream.Transcript) {
	t.Helper()
	r.Slot, r.FirstByteWithin, r.IdleWithin = drivers.AnySlot, 2*time.Minute, time.Minute
	rec, err := x.ses.Stream(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	tr, err := x.ses.Decode(rec)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Logf("%s: %+v, finish %q, %d events, server %+v", name, tr.Counts, tr.Finish, len(tr.Events), tr.Server)
	if len(tr.Disagree) > 0 {
		t.Errorf("%s: the server contradicts itself: %v", name, tr.Disagree)
	}
	if *record {
		x.keep(t, name, rec)
	}
	return rec, tr
}

func (x *live) info(t *testing.T) {
	i := x.ses.Info()
	if i.Backend != x.Spec.Name || i.Model.Ref == "" || i.URL == "" {
		t.Errorf("%+v", i)
	}
	if i.Version == "" {
		t.Error("no version: a recording would not say of what")
	}
}

// lengths holds the output to what was asked for, and the events' own counts to the whole.
func (x *live) lengths(t *testing.T) {
	rec, tr := x.say(t, "plain", drivers.Request{Prompt: long("first " + stamp()), OutputTokens: x.Output, Seed: 1})
	out := tr.Counts.Output
	if !out.Known() || out.N > x.Output || x.ses.Info().IgnoresEOS && out.N != x.Output {
		t.Errorf("output %+v, %d asked for", out, x.Output)
	}
	if rec.Outcome != stream.Complete || len(rec.Reads) == 0 || tr.Finish == "" || Text(tr) == "" {
		t.Errorf("outcome %s, %d reads, finish %q, text %q", rec.Outcome, len(rec.Reads), tr.Finish, Text(tr))
	}
	sum := 0
	for _, e := range tr.Events {
		if e.Tokens == stream.NotStated {
			return
		}
		sum += e.Tokens
	}
	if sum < out.N-1 || sum > out.N {
		t.Errorf("the events hold %d tokens, the whole is %d", sum, out.N)
	}
}

func stamp() string { return time.Now().UTC().Format("150405.000000") }

// cold sends one prompt twice without reuse: where the backend can be asked for that and counts, nothing but the template may
// come from the cache.
func (x *live) cold(t *testing.T) {
	r := drivers.Request{Prompt: long("second " + stamp()), OutputTokens: x.Output, Seed: 1}
	x.say(t, "cold", r)
	_, tr := x.say(t, "cold_again", r)
	i := x.ses.Info()
	limit := max(i.Template, 0) + max(i.CacheBlock, 1)
	if c := tr.Counts.Cached; i.ColdAsked && c.Known() && c.N > limit {
		t.Errorf("%d cached tokens of a prompt that was to be cold; %d at most are the template's", c.N, limit)
	}
}

// reused sends one prompt twice with reuse: where the backend counts, the second comes from the cache.
func (x *live) reused(t *testing.T) {
	r := drivers.Request{Prompt: long("third " + stamp()), OutputTokens: x.Output, Seed: 1, Reuse: true}
	x.say(t, "warm", r)
	_, tr := x.say(t, "warm_again", r)
	if c := tr.Counts.Cached; x.Spec.Able.Cached.Is == drivers.Has && (!c.Known() || c.N == 0) {
		t.Errorf("cached %+v of a prompt that had just been sent", c)
	}
}

// promptLength holds the tokenizer to what the server counts.
func (x *live) promptLength(t *testing.T) {
	tok := drivers.CapsOf(x.ses).Tokenizer
	if tok == nil {
		return
	}
	p := long("fourth " + stamp())
	ids, err := tok.Tokenize(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, tr := x.say(t, "counted", drivers.Request{Prompt: p, OutputTokens: 4, Seed: 1}); tr.Counts.Prompt.N != len(ids) {
		t.Errorf("the tokenizer gives %d tokens, the server counts %+v", len(ids), tr.Counts.Prompt)
	}
}

func (x *live) one(t *testing.T) {
	if _, tr := x.say(t, "one", drivers.Request{Prompt: long("fifth " + stamp()), OutputTokens: 1, Seed: 1}); tr.Counts.Output.Known() && tr.Counts.Output.N != 1 {
		t.Errorf("output %+v of 1 asked for", tr.Counts.Output)
	}
}

// cancel leaves a stream in its middle; the session works on.
func (x *live) cancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	rec, err := x.ses.Stream(ctx, drivers.Request{Prompt: long("sixth " + stamp()), OutputTokens: 2000, Seed: 1, Slot: drivers.AnySlot})
	if err != nil && !errors.Is(err, drivers.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, outcome %s", err, rec.Outcome)
	}
	if *record && err != nil {
		x.keep(t, "cut", rec)
	}
	x.say(t, "after_cancel", drivers.Request{Prompt: long("seventh " + stamp()), OutputTokens: 8, Seed: 1})
}

func (x *live) two(t *testing.T) {
	done := make(chan error, 2)
	for _, nonce := range []string{"eighth ", "ninth "} {
		go func() {
			rec, err := x.ses.Stream(t.Context(), drivers.Request{Prompt: long(nonce + stamp()), OutputTokens: x.Output, Seed: 1, Slot: drivers.AnySlot})
			if err == nil {
				_, err = x.ses.Decode(rec)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// able holds the Spec's declarations to the real server, as checkAble does to a written one.
func (x *live) able(t *testing.T) {
	rec, tr := x.say(t, "declared", drivers.Request{Prompt: long("tenth " + stamp()), OutputTokens: x.Output, Seed: 1})
	ableIs(t, x.Spec, x.ses, rec, tr)
	caps := drivers.CapsOf(x.ses)
	if caps.CacheStatser != nil {
		if s, err := caps.CacheStatser.CacheStats(t.Context()); err != nil || s.HitTokens > s.QueriedTokens {
			t.Errorf("cache counters: %+v, %v", s, err)
		}
	}
	if caps.Activity != nil {
		if a, err := caps.Activity.Activity(t.Context()); err != nil || a.Running > 1 {
			t.Errorf("activity: %+v, %v, while nothing runs", a, err)
		}
	}
}
