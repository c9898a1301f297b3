package vllm

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/prometheus"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recording is a fixture as it would have been read, a line a read.
func recording(t *testing.T, file string) stream.Recording {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	rec := stream.Recording{Protocol: openai.ProtocolCompletions, Status: 200, Data: b, Outcome: stream.Complete}
	for i, c := range b {
		if c == '\n' {
			rec.Reads = append(rec.Reads, stream.Read{End: i + 1, At: time.Duration(len(rec.Reads)+1) * time.Millisecond})
		}
	}
	return rec
}

// short writes events as kind and tokens: c1 content of one token, r reasoning, s silent, t tool.
func short(events []stream.Event) string {
	var words []string
	for _, e := range events {
		words = append(words, fmt.Sprintf("%c%d", "scrt"[e.Kind], e.Tokens))
	}
	return strings.Join(words, " ")
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		file   string
		change func(*stream.Recording)
		events string
		text   string
		counts stream.Counts
		server stream.ServerTiming
		finish string
		model  string
		says   []string // what disagrees
		err    error
	}{
		{file: "synthetic_completions.sse", events: "c1 s1 c3 c1", text: "Once 東京 upon a", finish: stream.FinishLength, model: "Qwen/Qwen3-8B",
			counts: stream.Counts{Prompt: stated(40), Cached: stated(16), Output: stated(6)}, change: func(r *stream.Recording) { r.PromptIDs = 40 }},
		{file: "synthetic_completions.sse", events: "c1 s1 c3 c1", text: "Once 東京 upon a", finish: stream.FinishLength, model: "Qwen/Qwen3-8B",
			counts: stream.Counts{Prompt: stated(40), Cached: stated(16), Output: stated(6)}, change: func(r *stream.Recording) { r.PromptIDs = 41 },
			says: []string{"41 prompt tokens were sent as ids, and the server counts 40"}},
		{file: "synthetic_thinking.sse", events: "r1 r1 r1 c1", text: "Hm</think>\nYes.", finish: stream.FinishLength, model: "m",
			counts: stream.Counts{Prompt: stated(9), Output: stated(4), Reasoning: stated(3)}, change: func(r *stream.Recording) { r.Sent = map[string]string{sentThinking: thinkingOpen} }},
		{file: "synthetic_thinking.sse", events: "c1 c1 c1 c1", text: "Hm</think>\nYes.", finish: stream.FinishLength, model: "m", counts: stream.Counts{Prompt: stated(9), Output: stated(4)}},
		{file: "synthetic_chat_reasoning.sse", events: "r1 r2 c2 s1", text: "Hm soYes.", finish: stream.FinishLength, model: "m",
			counts: stream.Counts{Prompt: stated(9), Output: stated(6)}, change: func(r *stream.Recording) { r.Protocol = openai.ProtocolChat }},
		{file: "synthetic_token_ids.sse", events: "c1 c2 s1", text: "Once upon a", finish: stream.FinishLength, model: "m", counts: stream.Counts{Prompt: stated(3), Output: stated(4)}},
		{file: "synthetic_metrics.sse", events: "c1 c1", text: "ab", finish: stream.FinishLength, model: "m", counts: stream.Counts{Prompt: stated(1000), Cached: stated(200), Output: stated(2)},
			server: stream.ServerTiming{PromptTokens: stated(800), Prefill: 100 * time.Millisecond, DecodeTokens: 1, Decode: 5 * time.Millisecond, Queue: 2500 * time.Microsecond, Definition: definition}},
		{file: "synthetic_error.sse", events: "c1", text: "a", model: "m", counts: stream.Counts{Prompt: stated(3), Output: stated(1)}, err: drivers.ErrServer},
		{file: "synthetic_no_usage.sse", events: "c-1 c-1", text: "ab", finish: stream.FinishLength, model: "tiny", change: func(r *stream.Recording) { r.PromptIDs = 12 },
			counts: stream.Counts{Prompt: stream.Count{N: 12, From: stream.ServerTokens}}},
		{file: "synthetic_no_usage.sse", events: "c-1 c-1", text: "ab", finish: stream.FinishLength, model: "tiny", change: func(r *stream.Recording) { r.Sent = map[string]string{sentModel: "tiny"} }},
		{file: "synthetic_no_usage.sse", events: "c-1 c-1", text: "ab", finish: stream.FinishLength, model: "tiny", err: drivers.ErrModelNotFound,
			change: func(r *stream.Recording) { r.Sent = map[string]string{sentModel: "small"} }},
	} {
		rec := recording(t, c.file)
		if c.change != nil {
			c.change(&rec)
		}
		tr, err := Decode(rec)
		var text strings.Builder
		for _, e := range tr.Events {
			text.WriteString(e.Text)
		}
		if !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.file, err, c.err)
		}
		for what, d := range map[string]string{
			"events": cmp.Diff(c.events, short(tr.Events)), "text": cmp.Diff(c.text, text.String()), "counts": cmp.Diff(c.counts, tr.Counts), "server": cmp.Diff(c.server, tr.Server),
			"finish": cmp.Diff(c.finish, tr.Finish), "model": cmp.Diff(c.model, tr.Model), "disagree": cmp.Diff(c.says, tr.Disagree),
		} {
			if d != "" {
				t.Errorf("%s: %s: %s", c.file, what, d)
			}
		}
	}
}

func TestTimingOfOddMetrics(t *testing.T) {
	counts := stream.Counts{Prompt: stated(100), Cached: stated(0), Output: stated(10)}
	for _, extra := range []string{
		``, `{}`, `[]`, `{"metrics":null}`, `{"metrics":[]}`, `{"metrics":{"queue_time_ms":"3"}}`, `{"metrics":{"queue_time_ms":-3,"generation_time_ms":1e300,"time_to_first_token_ms":0}}`,
		`{"metrics":{"generation_time_ms":null,"time_to_first_token_ms":1e999}}`,
	} {
		if s := timing([]byte(extra), counts); s != (stream.ServerTiming{}) {
			t.Errorf("%s: %+v", extra, s)
		}
	}
	whole := []byte(`{"metrics":{"time_to_first_token_ms":100,"generation_time_ms":5}}`)
	for name, c := range map[string]stream.Counts{
		"prompt unknown": {Cached: stated(0)}, "all cached": {Prompt: stated(100), Cached: stated(100)}, "one token": {Output: stated(1)}, "nothing": {},
	} {
		if s := timing(whole, c); s != (stream.ServerTiming{}) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// FuzzDecode holds that no body breaks the decoder, and that its counts and times are counts and times.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/synthetic_*.sse")
	if err != nil || len(files) < 7 {
		f.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true, 5)
	}
	f.Add([]byte("data: {\"choices\":[{\"text\":\"<think>\"}],\"metrics\":{\"queue_time_ms\":1e308}}\n\n"), false, 0)
	f.Fuzz(func(t *testing.T, body []byte, open bool, sent int) {
		rec := stream.Recording{Protocol: openai.ProtocolCompletions, Status: 200, Data: body, Outcome: stream.Complete, PromptIDs: sent, Reads: []stream.Read{{End: len(body), At: 1}}}
		if open {
			rec.Sent = map[string]string{sentThinking: thinkingOpen}
		}
		tr, _ := Decode(rec)
		for _, c := range []stream.Count{tr.Counts.Prompt, tr.Counts.Cached, tr.Counts.Output, tr.Counts.Reasoning, tr.Server.PromptTokens} {
			if c.Known() && c.N < 0 {
				t.Fatalf("counts %+v", tr.Counts)
			}
		}
		s := tr.Server
		if s.Prefill < 0 || s.Decode < 0 || s.Queue < 0 || s.Prefill > math.MaxInt64/2 || (s.Prefill > 0) != s.PromptTokens.Known() || (s.Decode > 0) != (s.DecodeTokens > 0) {
			t.Fatalf("timing %+v", s)
		}
		for _, e := range tr.Events {
			if (e.Kind == stream.Silent) != (e.Text == "") {
				t.Fatalf("event %+v", e)
			}
		}
	})
}

// FuzzMetrics holds that no /metrics text breaks what is read from it.
func FuzzMetrics(f *testing.F) {
	f.Add(metricsAnswer)
	f.Add("vllm:prefix_cache_queries_total 5\nvllm:gpu_prefix_cache_hits_total 9")
	f.Add(`vllm:cache_config_info{block_size="9999999999999",num_gpu_blocks="-1"} 1`)
	f.Fuzz(func(t *testing.T, text string) {
		m := prometheus.Parse(text)
		if s, err := cacheStats(m); err == nil && (s.QueriedTokens < 0 || s.HitTokens < 0) {
			t.Fatalf("%+v", s)
		}
		if a := activity(m); a.Running < drivers.NotKnown || a.Waiting < drivers.NotKnown {
			t.Fatalf("%+v", a)
		}
		if n := blockSize(m); n < 1 {
			t.Fatalf("block of %d", n)
		}
		cacheMetadata(m, map[string]string{})
	})
}

func TestMetrics(t *testing.T) {
	for _, c := range []struct {
		name, text string
		stats      drivers.CacheStats
		ok         bool
		activity   drivers.Activity
		block      int
	}{
		{"now", metricsAnswer, drivers.CacheStats{QueriedTokens: 100, HitTokens: 48}, true, drivers.Activity{Running: 1, Waiting: 2}, 32},
		{"two engines", "vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 3\nvllm:prefix_cache_queries_total{engine=\"0\"} 10\nvllm:prefix_cache_queries_total{engine=\"1\"} 5\nvllm:prefix_cache_hits_total{engine=\"0\"} 1\nvllm:prefix_cache_hits_total{engine=\"1\"} 2\n",
			drivers.CacheStats{QueriedTokens: 15, HitTokens: 3}, true, drivers.Activity{Running: 4, Waiting: drivers.NotKnown}, 16},
		{"0.8: gpu_ names", "vllm:gpu_prefix_cache_queries_total 10\nvllm:gpu_prefix_cache_hits_total 4\n", drivers.CacheStats{QueriedTokens: 10, HitTokens: 4}, true, drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, 16},
		{"0.9: both names count the same", "vllm:gpu_prefix_cache_queries_total 10\nvllm:gpu_prefix_cache_hits_total 4\nvllm:prefix_cache_queries_total 10\nvllm:prefix_cache_hits_total 4\n", drivers.CacheStats{QueriedTokens: 10, HitTokens: 4}, true, drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, 16},
		{"engine V0: a rate only", "vllm:gpu_prefix_cache_hit_rate 0.5\nvllm:num_requests_running 0\nvllm:num_requests_waiting 0\n", drivers.CacheStats{}, false, drivers.Activity{}, 16},
		{"a connector's cache is another", "vllm:external_prefix_cache_queries_total 10\nvllm:external_prefix_cache_hits_total 4\n", drivers.CacheStats{}, false, drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, 16},
		{"no number", "vllm:prefix_cache_queries_total NaN\nvllm:prefix_cache_hits_total 4\nvllm:num_requests_running -1\n", drivers.CacheStats{}, false, drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, 16},
		{"odd block", `vllm:cache_config_info{block_size="0"} 1`, drivers.CacheStats{}, false, drivers.Activity{Running: drivers.NotKnown, Waiting: drivers.NotKnown}, 16},
	} {
		m := prometheus.Parse(c.text)
		s, err := cacheStats(m)
		if s != c.stats || (err == nil) != c.ok || activity(m) != c.activity || blockSize(m) != c.block {
			t.Errorf("%s: %+v, %v, %+v, block %d", c.name, s, err, activity(m), blockSize(m))
		}
	}
}
