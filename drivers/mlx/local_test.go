package mlx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const speech = "Bonjour, é 東京! "

func TestHelperOpens(t *testing.T) {
	ses := start(t, standin{}, 1)
	i := ses.Info()
	if i.Backend != "mlx" || i.Version != "0.0.0+standin" || i.Attached || !i.IgnoresEOS || !i.ColdAsked || i.Parallel != 1 || i.CacheBlock != 1 || i.ContextMax != 4096 {
		t.Errorf("info: %+v", i)
	}
	if i.Model.Quant != "MLX-4bit" || i.Model.Name != "stand-in-4bit" || i.Model.Path == "" || i.Model.SizeBytes == 0 {
		t.Errorf("model: %+v", i.Model)
	}
	if i.Build != "Device(gpu, 0) applegpu_standin" || len(i.Flags) != 0 {
		t.Errorf("build %q, flags %v", i.Build, i.Flags)
	}
	// <|im_start|>user\n is one special token and five bytes.
	if i.Template != 6 {
		t.Errorf("template %d, want 6", i.Template)
	}
	for k, v := range i.Metadata {
		if strings.Contains(v, i.Model.Path) {
			t.Errorf("metadata %s holds the model's folder", k)
		}
	}
	secrets := strings.Join(ses.(drivers.SecretLister).Secrets(), "\n")
	if !strings.Contains(secrets, filepath.Dir(i.Model.Path)) || !strings.Contains(secrets, os.Getenv("HOME")) {
		t.Errorf("secrets %q hide neither the model's folder nor the user's", secrets)
	}
	if bound, err := time.ParseDuration(i.Metadata["clock_error_bound"]); err != nil || bound <= 0 || bound > 50*time.Millisecond {
		t.Errorf("clock error bound %q", i.Metadata["clock_error_bound"])
	}
	if diff := cmp.Diff([]string{"tokenizer", "cache_flush", "server_log"}, drivers.CapsOf(ses).Names()); diff != "" {
		t.Errorf("abilities: %s", diff)
	}
	if diff := cmp.Diff(i, ses.Info()); diff != "" {
		t.Errorf("info changed: %s", diff)
	}
}

func TestHelperTokenizesAsItStreams(t *testing.T) {
	ses := start(t, standin{}, 1)
	for _, r := range []drivers.Request{ask("hello", 4), drivertest.Ask()} {
		ids, err := ses.(drivers.Tokenizer).Tokenize(t.Context(), r.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		rec, tr := drivertest.Streamed(t, ses, r)
		if tr.Counts.Prompt != used(len(ids)) || rec.PromptIDs != len(ids) {
			t.Errorf("prompt %+v, %d ids sent, tokenizer gives %d", tr.Counts.Prompt, rec.PromptIDs, len(ids))
		}
	}
}

func TestHelperStreamsColdAndPastTheEndOfText(t *testing.T) {
	ses := start(t, standin{"eos_at": 3, "text": speech}, 1)
	const tokens = 40
	for range 2 {
		rec, tr := drivertest.Streamed(t, ses, ask("tell me", tokens))
		want := stream.Counts{Prompt: used(len("<s>user\n") + 0), Cached: used(0), Output: used(tokens), Reasoning: stream.Count{}}
		want.Prompt = tr.Counts.Prompt
		if diff := cmp.Diff(want, tr.Counts); diff != "" || tr.Finish != stream.FinishLength {
			t.Errorf("finish %q, counts: %s", tr.Finish, diff)
		}
		// The end of text is the fourth token, and the é begins after it.
		wantText(t, drivertest.Text(tr), said(speech, 3)+"<|im_end|>"+strings.ToValidUTF8(strings.Repeat(speech, 3)[4:tokens], "\uFFFD"))
		sum := 0
		for _, e := range tr.Events {
			if sum += e.Tokens; e.Tokens != 1 || e.Kind == stream.Silent && e.Text != "" {
				t.Errorf("event %+v", e)
			}
		}
		if sum != tokens || len(tr.Disagree) > 0 {
			t.Errorf("%d tokens in events, disagree %v", sum, tr.Disagree)
		}
		if rec.Outcome != stream.Complete || rec.Send <= 0 || rec.Sched != rec.Send || rec.FirstByte < rec.Send || rec.End < rec.Reads[len(rec.Reads)-1].At {
			t.Errorf("recording: %s, sched %v, send %v, first %v, end %v", rec.Outcome, rec.Sched, rec.Send, rec.FirstByte, rec.End)
		}
		s := tr.Server
		if s.DecodeTokens != tokens-1 || s.Decode <= 0 || s.Prefill <= 0 || s.PromptTokens != tr.Counts.Prompt || s.Definition == "" {
			t.Errorf("server: %+v", s)
		}
	}
}

func TestHelperReusesItsCacheBySlot(t *testing.T) {
	ses := start(t, standin{"text": speech}, 1)
	long := strings.Repeat("a long prompt that is worth keeping. ", 20)
	first := ask(long, 8)
	first.Reuse, first.Slot = true, 3
	_, a := drivertest.Streamed(t, ses, first)
	if a.Counts.Cached != used(0) {
		t.Errorf("first turn: %+v", a.Counts)
	}
	more := first
	more.Prompt = drivers.Prompt{Messages: append(slices.Clone(first.Prompt.Messages), first.Prompt.Messages[0])}
	more.Prompt.Messages[1].Content = "and more"
	_, b := drivertest.Streamed(t, ses, more)
	// The rendered first message and its end are shared; what the first answer left in the cache is not, and is cut off.
	ids := func(p drivers.Prompt) []int32 {
		got, err := ses.(drivers.Tokenizer).Tokenize(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one, two := ids(first.Prompt), ids(more.Prompt)
	common := 0
	for common < len(one) && one[common] == two[common] {
		common++
	}
	if b.Counts.Cached != used(common) || b.Server.PromptTokens != used(len(two)-common) {
		t.Errorf("second turn: cached %+v, worked on %+v, want %d and %d", b.Counts.Cached, b.Server.PromptTokens, common, len(two)-common)
	}
	other := more
	other.Slot = 4
	if _, c := drivertest.Streamed(t, ses, other); c.Counts.Cached != used(0) {
		t.Errorf("another slot: %+v", c.Counts)
	}
	same := more
	if _, c := drivertest.Streamed(t, ses, same); c.Counts.Cached != used(len(two)-1) {
		t.Errorf("the same again: cached %+v, want all but one token of %d", c.Counts.Cached, len(two))
	}
	cold := more
	cold.Reuse = false
	if _, c := drivertest.Streamed(t, ses, cold); c.Counts.Cached != used(0) {
		t.Errorf("cold: %+v", c.Counts)
	}
	if err := ses.(drivers.CacheFlusher).FlushCache(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, c := drivertest.Streamed(t, ses, other); c.Counts.Cached != used(0) {
		t.Errorf("after a flush: %+v", c.Counts)
	}
}

func TestHelperReusesNothingThatItCannotVouchFor(t *testing.T) {
	for name, s := range map[string]standin{"a cache that counts wrongly": {"wrong_offset": true}, "a cache that can't be trimmed": {"rigid": true}} {
		t.Run(name, func(t *testing.T) {
			ses := start(t, s, 1)
			r := ask("a prompt", 6)
			r.Reuse, r.Slot = true, 0
			for range 2 {
				if _, tr := drivertest.Streamed(t, ses, r); tr.Counts.Cached != used(0) {
					t.Errorf("cached %+v", tr.Counts.Cached)
				}
			}
		})
	}
}

func TestHelperStampsAgreeWithTheTimetable(t *testing.T) {
	log := t.TempDir() + "/ready"
	ses := start(t, standin{"decode_us": 5000, "prefill_us": 500, "log": log, "text": "abcdefgh"}, 1)
	const tokens = 100
	rec, tr := drivertest.Streamed(t, ses, ask(strings.Repeat("x", 100), tokens))
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	ready := strings.Fields(string(b))
	if len(ready) != tokens || len(tr.Events) != tokens {
		t.Fatalf("%d stamps of the stand-in, %d events", len(ready), len(tr.Events))
	}
	add, err := strconv.ParseInt(rec.Sent["clock_offset_ns"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var late []time.Duration
	for i, e := range tr.Events {
		at, err := strconv.ParseInt(ready[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		late = append(late, e.At-time.Duration(at+add))
	}
	slices.Sort(late)
	t.Logf("from a token's being ready to our read of the pipe: median %v, p90 %v, longest %v; pipe %s", late[tokens/2], late[tokens*9/10], late[tokens-1], tr.Extra)
	bound, err := time.ParseDuration(ses.Info().Metadata["clock_error_bound"])
	if err != nil {
		t.Fatal(err)
	}
	if late[0] < -bound || late[tokens/2] > 100*time.Millisecond {
		t.Errorf("a token was read %v after it was ready, the median %v; the clocks agree to %v", late[0], late[tokens/2], bound)
	}
	rate := float64(tr.Server.DecodeTokens) / tr.Server.Decode.Seconds()
	t.Logf("decode by the helper's stamps: %.2f tok/s of 200", rate)
	if rate < 20 || rate > 202 { // a busy machine only makes it slower
		t.Errorf("decode by the helper's stamps is %.2f tok/s, want about 200", rate)
	}
	if p := tr.Server.Prefill; p < 50*time.Millisecond || p > 10*time.Second {
		t.Errorf("prefill %v, want a little over 55 ms", p)
	}
}

func TestHelperTellsThinkingApart(t *testing.T) {
	ses := start(t, standin{"text": "hm, so</think>Yes."}, 1)
	r := ask("think", 18)
	r.Reasoning = "on"
	_, tr := drivertest.Streamed(t, ses, r)
	var thought, answer string
	for _, e := range tr.Events {
		if e.Kind == stream.Reasoning {
			thought += e.Text
		} else {
			answer += e.Text
		}
	}
	if thought != "hm, so</think>" || answer != "Yes." || tr.Counts.Reasoning != used(14) {
		t.Errorf("thought %q, answer %q, %+v", thought, answer, tr.Counts.Reasoning)
	}
	r.Reasoning = "off"
	if _, tr := drivertest.Streamed(t, ses, r); tr.Counts.Reasoning.Known() {
		t.Errorf("a template that can think, and no mark: %+v", tr.Counts.Reasoning)
	}
	plain := start(t, standin{"template": "{{ messages }}"}, 1)
	if _, tr := drivertest.Streamed(t, plain, ask("x", 4)); tr.Counts.Reasoning != used(0) {
		t.Errorf("a template that knows no thinking: %+v", tr.Counts.Reasoning)
	}
}

func TestHelperWithoutATemplate(t *testing.T) {
	ses := start(t, standin{"template": nil}, 1)
	if got := ses.Info().Metadata["template"]; !strings.HasPrefix(got, "none") {
		t.Errorf("metadata: %q", got)
	}
	_, tr := drivertest.Streamed(t, ses, drivertest.Ask())
	if !strings.Contains(string(tr.Extra), `"rendering":"plain"`) {
		t.Errorf("extra: %s", tr.Extra)
	}
	refused := start(t, standin{}, 1)
	r := ask("x", 4)
	r.Prompt.Messages[0].Role = "critic"
	if _, tr := drivertest.Streamed(t, refused, r); !strings.Contains(string(tr.Extra), `"rendering":"plain"`) {
		t.Errorf("a role that the template refuses: %s", tr.Extra)
	}
}

func TestHelperRunsSeveralStreamsInABatch(t *testing.T) {
	ses := start(t, standin{"text": speech, "decode_us": 3000}, 4)
	if i := ses.Info(); i.Parallel != 4 || !strings.Contains(i.Metadata["generation"], "BatchGenerator") {
		t.Fatalf("info: %+v", i)
	}
	const streams, tokens = 4, 30
	rs := make([]drivers.Request, streams)
	for i := range rs {
		rs[i] = ask(strings.Repeat("y", i+3), tokens)
	}
	trs := drivertest.AtOnce(t, ses, rs)
	var begin, end time.Duration
	for _, tr := range trs {
		if len(tr.Events) != tokens || tr.Counts.Output != used(tokens) || tr.Counts.Cached != used(0) || tr.Finish != stream.FinishLength {
			t.Fatalf("%d events, counts %+v, finish %q", len(tr.Events), tr.Counts, tr.Finish)
		}
		wantText(t, drivertest.Text(tr), said(speech, tokens))
		begin, end = max(begin, tr.Events[0].At), tr.Events[tokens-1].At
	}
	if begin >= end {
		t.Errorf("the streams did not overlap: the last began at %v, one ended at %v", begin, end)
	}
	// One after another it is the same session.
	if _, tr := drivertest.Streamed(t, ses, ask("z", 5)); tr.Counts.Output != used(5) {
		t.Errorf("after the batch: %+v", tr.Counts)
	}
}

func TestHelperCancel(t *testing.T) {
	for name, parallel := range map[string]int{"one": 1, "batch": 2} {
		t.Run(name, func(t *testing.T) {
			ses := start(t, standin{"decode_us": 10_000}, parallel)
			ctx, cancel := context.WithCancel(t.Context())
			var at time.Time
			time.AfterFunc(150*time.Millisecond, func() { at = time.Now(); cancel() })
			rec, err := ses.Stream(ctx, ask("x", 1000))
			took := time.Since(at)
			if !errors.Is(err, context.Canceled) || rec.Outcome != stream.Canceled || took > 2*time.Second {
				t.Errorf("%v, outcome %s, %v after the cancel", err, rec.Outcome, took)
			}
			tr, err := ses.Decode(rec)
			if !errors.Is(err, context.Canceled) || len(tr.Events) == 0 || len(tr.Events) > 100 {
				t.Errorf("decode: %v, %d events", err, len(tr.Events))
			}
			began := time.Now()
			if _, tr := drivertest.Streamed(t, ses, ask("x", 5)); tr.Counts.Output != used(5) {
				t.Errorf("the stream after it: %+v", tr.Counts)
			}
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("the stream after it took %v: the cancelled one ran on", took)
			}
		})
	}
}

func TestHelperForgetsAStreamThatWaited(t *testing.T) {
	ses := start(t, standin{"decode_us": 10_000}, 1)
	long, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	running := make(chan struct{})
	all.Go(func() {
		r := ask("first", 3000)
		r.Hold = func(context.Context) (time.Duration, error) { close(running); return 1, nil }
		_, _ = ses.Stream(long, r)
	})
	<-running
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := ses.Stream(short, ask("second", 5)); !errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("a stream behind another one: %v", err)
	}
	// The third is held up by nothing but the first, which runs for half a minute: it reaches its start at once.
	reached := make(chan struct{})
	all.Go(func() {
		r := ask("third", 5)
		r.Hold = func(context.Context) (time.Duration, error) { close(reached); return 1, nil }
		rec, err := ses.Stream(t.Context(), r)
		if err != nil {
			t.Error(err)
			return
		}
		if tr, err := ses.Decode(rec); err != nil || tr.Counts.Output != used(5) || tr.Server.Queue <= 0 {
			t.Errorf("the third: %v, %+v, queue %v", err, tr.Counts, tr.Server.Queue)
		}
	})
	select {
	case <-reached:
	case <-time.After(15 * time.Second):
		t.Error("the third stream waits for a cancelled one that waits itself")
	}
	stop()
	all.Wait()
}

func TestHelperFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault string
		want  error
		alive bool
		says  string
	}{
		"dies":   {"die", drivers.ErrServerDied, false, "on fire"},
		"raises": {"raise", drivers.ErrServer, true, "kernel failed"},
		"memory": {"memory", drivers.ErrServer, true, "out of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			ses := start(t, standin{"fault": c.fault, "fault_at": 10}, 1)
			rec, err := ses.Stream(t.Context(), ask("x", 40))
			tr, derr := ses.Decode(rec)
			if !errors.Is(derr, c.want) || !strings.Contains(derr.Error(), c.says) || (err == nil) != c.alive {
				t.Errorf("stream: %v\ndecode: %v", err, derr)
			}
			if len(tr.Events) != 10 {
				t.Errorf("%d events kept, want 10", len(tr.Events))
			}
			_, err = ses.Stream(t.Context(), ask("x", 5))
			if (err == nil) != c.alive {
				t.Errorf("the stream after it: %v", err)
			}
		})
	}
}

func TestHelperThatBlocksIsADeadline(t *testing.T) {
	ses := start(t, standin{"fault": "block", "fault_at": 5}, 1)
	r := ask("x", 40)
	r.FirstByteWithin, r.IdleWithin = 10*time.Second, 300*time.Millisecond
	began := time.Now()
	rec, err := ses.Stream(t.Context(), r)
	took := time.Since(began)
	tr, derr := ses.Decode(rec)
	if !errors.Is(err, drivers.ErrTimeout) || !errors.Is(derr, drivers.ErrTimeout) || rec.Outcome != stream.Deadline || len(tr.Events) != 5 {
		t.Errorf("stream: %v, decode: %v, outcome %s, %d events", err, derr, rec.Outcome, len(tr.Events))
	}
	if took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	r.FirstByteWithin, r.IdleWithin = 100*time.Millisecond, 10*time.Second
	slow := start(t, standin{"fault": "block", "fault_at": 0}, 1)
	if _, err := slow.Stream(t.Context(), r); !errors.Is(err, drivers.ErrTimeout) || !strings.Contains(err.Error(), "no token within") {
		t.Errorf("no first token: %v", err)
	}
	began = time.Now()
	if err := slow.Close(); err != nil || time.Since(began) > 15*time.Second {
		t.Errorf("close of a blocked helper: %v after %v", err, time.Since(began))
	}
}

func TestHelperHold(t *testing.T) {
	ses := start(t, standin{}, 1)
	stop := errors.New("not now")
	r := ask("x", 5)
	r.Hold = func(context.Context) (time.Duration, error) { return 0, stop }
	if rec, err := ses.Stream(t.Context(), r); !errors.Is(err, stop) || rec.Send != 0 {
		t.Errorf("%v, send %v", err, rec.Send)
	}
	calls := 0
	r.Hold = func(context.Context) (time.Duration, error) { calls++; return 7, nil }
	rec, _ := drivertest.Streamed(t, ses, r)
	if rec.Sched != 7 || calls != 1 || rec.Send < 7 {
		t.Errorf("sched %v, %d calls", rec.Sched, calls)
	}
}

func TestHelperRefusals(t *testing.T) {
	python(t)
	good := folder(t, standin{})
	for name, c := range map[string]struct {
		model string
		want  error
	}{
		"no such folder":    {good + "-not", drivers.ErrModelNotFound},
		"no model in it":    {t.TempDir(), drivers.ErrModelNotFound},
		"no such name":      {"no-such-model-anywhere", drivers.ErrModelNotFound},
		"the library's own": {func() string { d := folder(t, standin{}); broken(t, d); return d }(), drivers.ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			ses, err := Spec().Open(t.Context(), config(c.model), drivers.Need{Context: 1024, Parallel: 1})
			if !errors.Is(err, c.want) {
				t.Errorf("%v, %v", ses, err)
			}
		})
	}
	ses := start(t, standin{}, 1)
	rec, err := ses.Stream(t.Context(), ask("x", 0))
	if !errors.Is(err, drivers.ErrBadRequest) || rec.Outcome != stream.Cut {
		t.Errorf("no tokens asked: %v", err)
	}
	drivertest.Streamed(t, ses, ask("x", 3))
	_ = ses.Close()
	if err := ses.Close(); err != nil {
		t.Errorf("close twice: %v", err)
	}
	if _, err := ses.Stream(t.Context(), ask("x", 3)); err == nil {
		t.Error("a stream on a closed session")
	}
}

func broken(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(dir+"/config.json", []byte(`{"model_type":"unknown","quantization":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDecodeIsPure(t *testing.T) {
	ses := start(t, standin{"text": speech}, 1)
	rec, one := drivertest.Streamed(t, ses, ask("x", 20))
	for _, step := range []int{1, 7, 64, len(rec.Data)} {
		again := rec
		again.Reads = nil
		for end := 0; end < len(rec.Data); {
			end = min(len(rec.Data), end+step)
			again.Reads = append(again.Reads, stream.Read{End: end, At: rec.Send + time.Duration(end)})
		}
		two, err := ses.Decode(again)
		if err != nil || drivertest.Text(two) != drivertest.Text(one) || two.Counts != one.Counts || two.Server != one.Server || len(two.Events) != len(one.Events) {
			t.Errorf("reads of %d bytes: %v, %+v", step, err, two.Counts)
		}
	}
	for cut := range len(rec.Data) - 1 { // without its line end the last line is whole all the same
		half := rec
		half.Data = rec.Data[:cut]
		if _, err := ses.Decode(half); !errors.Is(err, drivers.ErrTruncated) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// TestContextLimit: mlx_lm generates past what the model was trained for; the helper refuses it before anything is timed.
func TestContextLimit(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		ses := start(t, standin{}, parallel)
		r := ask("x", 5)
		ids, err := ses.(drivers.Tokenizer).Tokenize(t.Context(), r.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		r.OutputTokens = ses.Info().ContextMax - len(ids) + 1
		rec, err := ses.Stream(t.Context(), r)
		if !errors.Is(err, drivers.ErrContextLength) || rec.Outcome == stream.Complete {
			t.Errorf("%d streams, one token too many: %v, outcome %v", parallel, err, rec.Outcome)
		}
		r.OutputTokens--
		if parallel == 1 {
			if rec, err = ses.Stream(t.Context(), r); err != nil {
				t.Errorf("what just fits: %v, outcome %v", err, rec.Outcome)
			}
		}
		if _, tr := drivertest.Streamed(t, ses, ask("x", 5)); tr.Counts.Output.N != 5 {
			t.Errorf("%d streams, after it: %+v", parallel, tr.Counts)
		}
	}
}
