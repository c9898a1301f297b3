package tabbyapi

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

func recorded(body string) stream.Recording {
	return stream.Recording{Protocol: openai.ProtocolChat, Status: 200, Data: []byte(body), Reads: []stream.Read{{End: len(body), At: 1}}, Outcome: stream.Complete, Sent: map[string]string{}}
}

func usage(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

func TestDecode(t *testing.T) {
	b, err := os.ReadFile("testdata/synthetic_chat.sse")
	if err != nil {
		t.Fatal(err)
	}
	rec := recorded(string(b))
	rec.Sent[sentModel], rec.Sent[sentCached] = "Qwen3-8B-exl3-4.0bpw", cachedCounted
	got, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	want := []stream.Event{
		{At: 1, Kind: stream.Reasoning, Text: "Hm", Tokens: stream.NotStated},
		{At: 1, Kind: stream.Content, Text: " so 東", Tokens: stream.NotStated},
	}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Error(diff)
	}
	if got.Counts != (stream.Counts{Prompt: usage(1025), Cached: usage(256), Output: usage(64)}) || got.Finish != stream.FinishLength {
		t.Errorf("%+v", got)
	}
	timing := stream.ServerTiming{PromptTokens: usage(768), Prefill: 384120 * time.Microsecond, DecodeTokens: 64, Decode: 801230 * time.Microsecond,
		Definition: definition, StatedDecode: 79.87, StatedPrefill: 2668.3}
	if diff := cmp.Diff(timing, got.Server); diff != "" {
		t.Error(diff)
	}
	delete(rec.Sent, sentCached) // more than none is counted, whatever was seen before
	if got, err = Decode(rec); err != nil || got.Counts.Cached != usage(256) {
		t.Errorf("%v, %+v", err, got.Counts)
	}
	rec.Sent[sentModel] = "Llama"
	if _, err := Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model: %v", err)
	}
	for body, want := range map[string]error{
		good[1] + event(`{"error":{"message":"Chat completion aborted.","trace":null}}`): drivers.ErrServer,
		good[1]:           drivers.ErrTruncated,
		"":                drivers.ErrTruncated,
		"<html></html>\n": drivers.ErrProtocol,
	} {
		if _, err := Decode(recorded(body)); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", body, err, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for raw, want := range map[string]time.Duration{
		`0.38412`: 384120 * time.Microsecond,
		`0.38`:    0, // rounded to hundredths: a rate would be off by more than a percent
		`1.28`:    1280 * time.Millisecond,
		`3`:       3 * time.Second,
		`5e-1`:    500 * time.Millisecond,
		`0`:       0, `-1`: 0, `"1"`: 0, `null`: 0, ``: 0, `1e300`: 0, `"Indeterminate"`: 0,
	} {
		if got := seconds(json.RawMessage(raw)); got != want {
			t.Errorf("%s: %v, want %v", raw, got, want)
		}
	}
}

// FuzzDecode holds that no body breaks the decoder, that decoding is pure, and that times are times.
func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("testdata/synthetic_chat.sse")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "Qwen3-8B-exl3-4.0bpw", true)
	f.Add([]byte(`data: {"choices":[],"usage":{"completion_tokens":1e9,"completion_time":1e-300,"prompt_time":1e99}}`), "", false)
	f.Fuzz(func(t *testing.T, body []byte, model string, counted bool) {
		rec := recorded(string(body))
		rec.Sent[sentModel] = model
		if counted {
			rec.Sent[sentCached] = cachedCounted
		}
		one, err := Decode(rec)
		two, err2 := Decode(rec)
		if diff := cmp.Diff(one, two); diff != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("two decodes differ: %s", diff)
		}
		if s := one.Server; s.Decode < 0 || s.Prefill < 0 || s.PromptTokens.N < 0 || s.DecodeTokens < 0 {
			t.Fatalf("%+v", s)
		}
	})
}
