package trtllm

import (
	"errors"
	"os"
	"testing"

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
	rec.Sent[sentModel] = "Qwen3-8B"
	got, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	want := []stream.Event{
		{At: 1, Kind: stream.Silent, Tokens: 1}, // the role's chunk comes with the first iteration
		{At: 1, Kind: stream.Reasoning, Text: "Hm", Tokens: 2},
		{At: 1, Kind: stream.Content, Text: " so 東", Tokens: 2},
	}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Error(diff)
	}
	if got.Counts != (stream.Counts{Prompt: usage(9), Cached: usage(0), Output: usage(5)}) || got.Finish != stream.FinishLength {
		t.Errorf("%+v", got)
	}
	rec.Sent[sentModel] = "Llama"
	if _, err := Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model: %v", err)
	}
	for body, want := range map[string]error{
		good[1] + event(`{"object":"error","message":"boom","type":"InternalServerError","code":500}`):               drivers.ErrServer,
		event(`{"object":"error","message":"exceeds the maximum sequence length of the context length","code":400}`): drivers.ErrContextLength,
		good[1]:           drivers.ErrTruncated,
		good[1] + "data:": drivers.ErrTruncated,
		"":                drivers.ErrTruncated,
		"<html></html>\n": drivers.ErrProtocol,
	} {
		if _, err := Decode(recorded(body)); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", body, err, want)
		}
	}
}

// FuzzDecode holds that no body breaks the decoder, and that decoding is pure.
func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("testdata/synthetic_chat.sse")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "Qwen3-8B")
	f.Add([]byte(`{"object":"error","message":7}`), "")
	f.Fuzz(func(t *testing.T, body []byte, model string) {
		rec := recorded(string(body))
		rec.Sent[sentModel] = model
		one, err := Decode(rec)
		two, err2 := Decode(rec)
		if diff := cmp.Diff(one, two); diff != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("two decodes differ: %s", diff)
		}
	})
}
