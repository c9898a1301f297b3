package exllama

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const speech = "Bonjour, é 東京! "

func TestOpens(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		ses := start(t, f, standin{}, one())
		i := ses.Info()
		if i.Backend != f.name || i.Version != "0.0.0+standin" || i.Build != "CUDA 12.8" || i.Attached || !i.IgnoresEOS || !i.ColdAsked ||
			i.Parallel != 1 || i.CacheBlock != 256 || i.ContextMax != 2048 {
			t.Errorf("info: %+v", i)
		}
		if want := strings.ToUpper(f.method) + "-4bpw"; i.Model.Quant != want || i.Model.Name != "stand-in-"+f.method || i.Model.SizeBytes == 0 {
			t.Errorf("model: %+v, want %s", i.Model, want)
		}
		if i.Metadata["devices"] != "Stand-in GPU" || i.Metadata["cache_tokens"] != "2048" || i.Metadata["paged"] != "true" {
			t.Errorf("metadata: %v", i.Metadata)
		}
		if short := strings.Contains(i.Metadata["generation"], "max_new_tokens 1 above"); short != (f.name == "exllamav3") {
			t.Errorf("generation: %q", i.Metadata["generation"]) // the stand-in for exllamav3 ends jobs one token short, as 1.4.1 does
		}
		// <s><|im_start|>user\n is two special tokens and five bytes; exllamav3's tokenizer adds a second BOS, which is dropped.
		if i.Template != 7 {
			t.Errorf("template %d, want 7", i.Template)
		}
		if diff := cmp.Diff([]string{"tokenizer", "cache_flush", "server_log"}, drivers.CapsOf(ses).Names()); diff != "" {
			t.Errorf("abilities: %s", diff)
		}
	})
}

func TestStreamsColdAndPastTheEndOfText(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		ses := start(t, f, standin{"eos_at": 3, "text": speech}, one())
		const tokens = 40
		prompt := ask(strings.Repeat("a prompt of several pages. ", 30), tokens)
		ids, err := ses.(drivers.Tokenizer).Tokenize(t.Context(), prompt.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			rec, tr := drivertest.Streamed(t, ses, prompt)
			want := stream.Counts{Prompt: used(len(ids)), Cached: used(0), Output: used(tokens)}
			if diff := cmp.Diff(want, tr.Counts); diff != "" || tr.Finish != stream.FinishLength || len(tr.Disagree) > 0 {
				t.Errorf("finish %q, disagree %v, counts: %s", tr.Finish, tr.Disagree, diff)
			}
			if got, want := drivertest.Text(tr), "Bon<|im_end|>our, é 東京! Bonjour, é "; !strings.HasPrefix(got, want) {
				t.Errorf("text %q, want %q", got, want)
			}
			sum, several := 0, 0
			for _, e := range tr.Events {
				if sum += e.Tokens; e.Tokens > 1 {
					several++
				}
			}
			if sum != tokens || several == 0 {
				t.Errorf("%d tokens in events, %d events of several; held characters come with all their tokens", sum, several)
			}
			if rec.Conn.Proto != "pipe" || rec.PromptIDs != len(ids) || rec.Outcome != stream.Complete {
				t.Errorf("recording: %+v", rec.Conn)
			}
			s := tr.Server
			if s.DecodeTokens != tokens-tr.Events[0].Tokens || s.Decode <= 0 || s.Prefill <= 0 || s.PromptTokens != used(len(ids)) || s.Queue < 0 || s.Definition == "" {
				t.Errorf("server: %+v", s)
			}
			for _, key := range []string{`"time_prefill"`, `"eos_reason":"max_new_tokens"`, `"pipe"`} {
				if !strings.Contains(string(tr.Extra), key) {
					t.Errorf("extra has no %s: %s", key, tr.Extra)
				}
			}
		}
	})
}

func TestReusesPages(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		ses := start(t, f, standin{}, one())
		r := ask(strings.Repeat("a long prompt that is worth keeping. ", 20), 8)
		r.Reuse = true
		_, a := drivertest.Streamed(t, ses, r)
		_, b := drivertest.Streamed(t, ses, r)
		pages := (b.Counts.Prompt.N - 1) / 256 * 256
		if a.Counts.Cached != used(0) || b.Counts.Cached != used(pages) || pages == 0 || b.Server.PromptTokens.N != b.Counts.Prompt.N-pages {
			t.Errorf("cached %+v, then %+v, want %d; worked on %+v", a.Counts.Cached, b.Counts.Cached, pages, b.Server.PromptTokens)
		}
		if err := ses.(drivers.CacheFlusher).FlushCache(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, c := drivertest.Streamed(t, ses, r); c.Counts.Cached != used(0) {
			t.Errorf("after a flush: %+v", c.Counts.Cached)
		}
		r.Reuse = false
		if _, c := drivertest.Streamed(t, ses, r); c.Counts.Cached != used(0) {
			t.Errorf("cold: %+v", c.Counts.Cached)
		}
	})
}

func TestRunsSeveralStreamsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		ses := start(t, f, standin{"text": "abcdefgh", "decode_us": 3000}, drivers.Need{Context: 500, Parallel: 4})
		if i := ses.Info(); i.Parallel != 4 || i.ContextMax != 512 || i.Metadata["cache_tokens"] != "2048" {
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
			if len(tr.Events) != tokens || tr.Counts.Output != used(tokens) || drivertest.Text(tr) != strings.Repeat("abcdefgh", 4)[:tokens] {
				t.Fatalf("%d events, counts %+v, text %q", len(tr.Events), tr.Counts, drivertest.Text(tr))
			}
			begin, end = max(begin, tr.Events[0].At), tr.Events[tokens-1].At
		}
		if begin >= end {
			t.Errorf("the streams did not overlap: the last began at %v, one ended at %v", begin, end)
		}
	})
}

func TestCancelAndFaults(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		ses := start(t, f, standin{"decode_us": 5000}, one())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(150*time.Millisecond, cancel)
		rec, err := ses.Stream(ctx, ask("x", 1000))
		if !errors.Is(err, context.Canceled) || rec.Outcome != stream.Canceled {
			t.Errorf("cancel: %v, %s", err, rec.Outcome)
		}
		if tr, err := ses.Decode(rec); !errors.Is(err, context.Canceled) || len(tr.Events) == 0 {
			t.Errorf("decode: %v, %d events", err, len(tr.Events))
		}
		if _, tr := drivertest.Streamed(t, ses, ask("x", 5)); tr.Counts.Output != used(5) {
			t.Errorf("after it: %+v", tr.Counts)
		}
		_, err = ses.Decode(func() stream.Recording { rec, _ := ses.Stream(t.Context(), ask("x", 5000)); return rec }())
		if !errors.Is(err, drivers.ErrContextLength) {
			t.Errorf("more than the cache holds: %v", err)
		}
		for fault, c := range map[string]struct {
			want  error
			alive bool
			says  string
		}{"die": {drivers.ErrServerDied, false, "illegal memory access"}, "raise": {drivers.ErrServer, true, "out of memory"}} {
			ses := start(t, f, standin{"fault": fault, "fault_at": 8, "text": "abcdefgh"}, one())
			rec, _ := ses.Stream(t.Context(), ask("x", 30))
			tr, err := ses.Decode(rec)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || len(tr.Events) != 8 {
				t.Errorf("%s: %v, %d events", fault, err, len(tr.Events))
			}
			if _, err := ses.Stream(t.Context(), ask("x", 3)); (err == nil) != c.alive {
				t.Errorf("%s: the stream after it: %v", fault, err)
			}
		}
	})
}

func TestThinkingAndTemplates(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		ses := start(t, f, standin{"text": "hm, so</think>Yes."}, one())
		r := ask("think", 18)
		r.Reasoning = "on"
		_, tr := drivertest.Streamed(t, ses, r)
		if tr.Counts.Reasoning != used(14) || tr.Events[0].Kind != stream.Reasoning || tr.Events[17].Kind != stream.Content {
			t.Errorf("reasoning %+v", tr.Counts.Reasoning)
		}
		if _, tr := drivertest.Streamed(t, ses, drivertest.Ask()); !strings.Contains(string(tr.Extra), `"rendering":"template"`) {
			t.Errorf("extra: %s", tr.Extra)
		}
		odd := ask("x", 4)
		odd.Prompt.Messages[0].Role = "critic"
		if _, tr := drivertest.Streamed(t, ses, odd); !strings.Contains(string(tr.Extra), `"rendering":"plain"`) {
			t.Errorf("a role that the template refuses: %s", tr.Extra)
		}
	})
}

func TestWithoutFlashAttention(t *testing.T) {
	ses := start(t, v2(), standin{"no_flash_attn": true}, one())
	if got := ses.Info().Metadata["paged"]; got != "false" {
		t.Errorf("paged %q", got)
	}
	drivertest.Streamed(t, ses, ask("x", 3))
	_, err := v2().spec().Open(t.Context(), config(folder(t, "exl2", standin{"no_flash_attn": true})), drivers.Need{Context: 500, Parallel: 2})
	if !errors.Is(err, drivers.ErrUnsupported) || !strings.Contains(err.Error(), "paged attention") {
		t.Errorf("two streams: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		python(t)
		other := map[string]string{"exl2": "exl3", "exl3": "exl2"}[f.method]
		for name, c := range map[string]struct {
			config drivers.Config
			want   error
			says   string
		}{
			"another quantisation": {config(folder(t, other, nil)), drivers.ErrUnsupported, other},
			"no such folder":       {config("/no/such/folder"), drivers.ErrModelNotFound, "config.json"},
			"a URL":                {drivers.Config{URL: "http://127.0.0.1:5000", Env: os.Getenv, Clock: clock.New()}, drivers.ErrUnsupported, "TabbyAPI"},
			"a Python not there":   {drivers.Config{Options: map[string]string{optPython: "/no/python"}, Env: os.Getenv, Clock: clock.New()}, drivers.ErrNotFound, "no Python interpreter there"},
		} {
			if _, err := f.spec().Open(t.Context(), c.config, one()); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
		}
		t.Setenv("STANDIN_NO_CUDA", "1")
		if _, err := f.spec().Open(t.Context(), config(folder(t, f.method, nil)), one()); !errors.Is(err, drivers.ErrUnsupported) || !strings.Contains(err.Error(), "no CUDA or ROCm device") {
			t.Errorf("no GPU: %v", err)
		}
		t.Setenv("PYTHONPATH", t.TempDir())
		if _, err := f.spec().Open(t.Context(), config(folder(t, f.method, nil)), one()); !errors.Is(err, drivers.ErrNotFound) || !strings.Contains(err.Error(), "pip install "+f.name) {
			t.Errorf("not installed: %v", err)
		}
	})
}

// patiently looks again where a busy machine did not let Python answer in time.
func patiently(t *testing.T, f flavor, c drivers.Config) ([]drivers.Found, error) {
	t.Helper()
	found, err := f.spec().Detect(t.Context(), c)
	for range 20 {
		if len(found) != 1 || !strings.Contains(found[0].Note, "did not answer within") {
			break
		}
		found, err = f.spec().Detect(t.Context(), c)
	}
	return found, err
}

func TestDetect(t *testing.T) {
	both(t, func(t *testing.T, f flavor) {
		python(t)
		cache := t.TempDir()
		dir := filepath.Join(cache, "models--some--Model-"+f.method, "snapshots", "abc")
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(folder(t, f.method, nil), dir); err != nil {
			t.Fatal(err)
		}
		c := config("")
		c.Env = func(k string) string {
			switch k {
			case "HF_HUB_CACHE":
				return cache
			case "PATH":
				return os.Getenv("PATH")
			}
			return ""
		}
		found, err := patiently(t, f, c)
		if err != nil || len(found) != 1 || !found[0].Usable || found[0].Version != "0.0.0+standin" || len(found[0].Models) != 1 ||
			found[0].Models[0].Ref != "some/Model-"+f.method || !strings.HasSuffix(found[0].Models[0].Quant, "-4bpw") {
			t.Fatalf("%+v, %v", found, err)
		}
		t.Setenv("PYTHONPATH", t.TempDir())
		if found, err := patiently(t, f, c); err != nil || len(found) != 0 {
			t.Errorf("not installed: %+v, %v", found, err)
		}
		c.Options = map[string]string{optPython: "python3"}
		if found, err := patiently(t, f, c); err != nil || len(found) != 1 || found[0].Usable || !strings.Contains(found[0].Note, "no "+f.name) {
			t.Errorf("not installed in the Python that was named: %+v, %v", found, err)
		}
	})
}
