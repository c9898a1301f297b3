package sglang

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recorded is a body that came in one read for each line.
func recorded(body string) stream.Recording {
	rec := stream.Recording{Protocol: protocol, Status: 200, Data: []byte(body), Outcome: stream.Complete, Send: 1, Sent: map[string]string{sentModel: "m"}}
	for i, b := range rec.Data {
		if b == '\n' || i == len(rec.Data)-1 {
			rec.Reads = append(rec.Reads, stream.Read{End: i + 1, At: time.Duration(i + 1)})
		}
	}
	return rec
}

func fixture(t testing.TB, name string) stream.Recording {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name)) //nolint:gosec // the test's own file
	if err != nil {
		t.Fatal(err)
	}
	return recorded(string(b))
}

// said is what of an event is compared.
type said struct {
	Kind   stream.Kind
	Text   string
	Tokens int
}

func events(tr stream.Transcript) []said {
	var out []said
	for _, e := range tr.Events {
		out = append(out, said{e.Kind, e.Text, e.Tokens})
	}
	return out
}

func usage(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

func TestDecodeFixtures(t *testing.T) {
	whole, err := Decode(fixture(t, "synthetic_generate_whole.sse"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]said{{stream.Content, "Hi", 1}, {stream.Content, " ", 1}, {stream.Content, "東", 1}, {stream.Content, "京!", 2}}, events(whole)); diff != "" {
		t.Error(diff)
	}
	if whole.Counts != (stream.Counts{Prompt: usage(9), Cached: usage(4), Output: usage(5)}) || whole.Finish != stream.FinishLength ||
		whole.Server.Queue != 250*time.Millisecond || whole.Server.Decode != 0 || whole.Model != "m" || len(whole.Disagree) != 0 {
		t.Errorf("%+v", whole)
	}
	var extra struct {
		Meta map[string]json.RawMessage `json:"meta_info"`
	}
	if json.Unmarshal(whole.Extra, &extra) != nil || string(extra.Meta["e2e_latency"]) != "0.71" || extra.Meta["input_token_logprobs"] != nil || extra.Meta["id"] != nil {
		t.Errorf("extra: %s", whole.Extra)
	}

	for _, field := range []string{"total_retractions", "num_retractions"} {
		rec := fixture(t, "synthetic_generate_whole.sse")
		back, err := Decode(recorded(strings.ReplaceAll(string(rec.Data), `"total_retractions":0`, `"`+field+`":2`)))
		if err != nil || back.PutBack != 2 || whole.PutBack != 0 {
			t.Errorf("%s: put back %d times, %v", field, back.PutBack, err)
		}
	}

	part, err := Decode(fixture(t, "synthetic_generate_incremental.sse"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]said{{stream.Reasoning, "<thi", 1}, {stream.Reasoning, "nk>why", 2}, {stream.Silent, "", 1}, {stream.Reasoning, "</think>", 1}, {stream.Content, " so", 1}}, events(part)); diff != "" {
		t.Error(diff)
	}
	if part.Counts.Reasoning != usage(5) || part.Finish != stream.FinishStop || part.Counts.Cached != usage(0) {
		t.Errorf("%+v", part.Counts)
	}

	rec := fixture(t, "synthetic_generate_abort.sse")
	rec.Sent[sentText] = textWhole
	aborted, err := Decode(rec)
	if !errors.Is(err, drivers.ErrOverloaded) || !strings.Contains(err.Error(), "KV cache pool is full") || len(aborted.Events) != 1 {
		t.Errorf("%v, %+v", err, aborted.Events)
	}

	rec = fixture(t, "synthetic_chat.sse")
	rec.Protocol = openai.ProtocolChat
	rec.Sent[sentModel] = "Qwen3-8B"
	talk, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]said{{stream.Reasoning, "Hm", 2}, {stream.Content, "so", 1}}, events(talk)); diff != "" {
		t.Error(diff)
	}
	if talk.Counts != (stream.Counts{Prompt: usage(9), Cached: usage(6), Output: usage(3), Reasoning: usage(2)}) {
		t.Errorf("%+v", talk.Counts)
	}
	rec.Sent[sentModel] = "another"
	if _, err = Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model: %v", err)
	}
}

func TestDecodeFaults(t *testing.T) {
	meta := func(s string) string { return `data: {"text":"a","meta_info":{` + s + "}}\n\n" }
	for _, c := range []struct {
		name, body string
		change     func(*stream.Recording)
		want       error
		events     int
	}{
		{"empty", "", nil, drivers.ErrTruncated, 0},
		{"only the end", done, nil, drivers.ErrProtocol, 0},
		{"no end", ev("a", 1), nil, drivers.ErrTruncated, 1},
		{"a finish reason and no end mark", ev("a", 1) + end("ab", 2), nil, nil, 2},
		{"the same, cut", ev("a", 1) + end("ab", 2), func(r *stream.Recording) { r.Outcome = stream.Cut }, drivers.ErrTruncated, 2},
		{"a cut event", ev("a", 1) + `data: {"text":"ab`, nil, drivers.ErrTruncated, 1},
		{"no JSON", ev("a", 1) + "data: {]\n\n", nil, drivers.ErrProtocol, 1},
		{"an array", "data: [1]\n\n" + done, nil, drivers.ErrProtocol, 0},
		{"a page", "<html>\n<body>\n", nil, drivers.ErrProtocol, 0},
		{"one piece", `{"text":"abc","meta_info":{"completion_tokens":3}}`, nil, drivers.ErrTruncated, 0},
		{"one piece and a line end", `{"text":"abc","meta_info":{"completion_tokens":3}}` + "\n", nil, drivers.ErrProtocol, 0},
		{"an error object", ev("a", 1) + `data: {"error":{"message":"The input (9 tokens) is longer than the model's context length (8 tokens)."}}` + "\n\n" + done, nil, drivers.ErrContextLength, 1},
		{"an error as text", `data: {"error":"boom"}` + "\n\n", nil, drivers.ErrServer, 0},
		{"an error outside of the stream", `{"object":"error","message":"bad","code":400}` + "\n", nil, drivers.ErrBadRequest, 0},
		{"an error of an odd code", `data: {"error":{"message":"x","code":"many"}}` + "\n\n", nil, drivers.ErrServer, 0},
		{"an abort without words", meta(`"finish_reason":{"type":"abort"}`) + done, nil, drivers.ErrServer, 1},
		{"a redirect", "", func(r *stream.Recording) { r.Status = 307 }, drivers.ErrProtocol, 0},
		{"compressed", done, func(r *stream.Recording) { r.Header = map[string]string{"content-encoding": "gzip"} }, drivers.ErrProtocol, 0},
		{"a deadline", ev("a", 1), func(r *stream.Recording) { r.Outcome = stream.Deadline }, drivers.ErrTimeout, 1},
		{"a cancel", ev("a", 1), func(r *stream.Recording) { r.Outcome = stream.Canceled }, context.Canceled, 1},
		{"no answer", "", func(r *stream.Recording) { r.Outcome, r.Status = stream.Cut, 0 }, drivers.ErrReset, 0},
		{"types that do not fit", `data: {"text":7,"meta_info":[1]}` + "\n\n" + `data: {"text":"a","meta_info":{"completion_tokens":"1","finish_reason":7,"prompt_tokens":1e99}}` + "\n\n" + done, nil, nil, 1},
		{"null events", "data: null\n\ndata:\n\n" + end("a", 1) + done, nil, nil, 1},
		{"of another prompt", ev("a", 1) + `data: {"text":"zz","index":1,"meta_info":{"completion_tokens":9}}` + "\n\n" + end("ab", 2) + done, nil, nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := recorded(c.body)
			if c.change != nil {
				c.change(&rec)
			}
			got, err := Decode(rec)
			if !errors.Is(err, c.want) || len(got.Events) != c.events {
				t.Errorf("%v, want %v; %+v", err, c.want, got.Events)
			}
		})
	}
}

func TestDecodeCounts(t *testing.T) {
	rec := recorded(ev("a", 5) + ev("ab", 3) + end("abc", 6) + done)
	got, err := Decode(rec)
	if err != nil || len(got.Disagree) != 1 || got.Events[0].Tokens != stream.NotStated || got.Counts.Output != usage(6) {
		t.Errorf("backwards: %v, %+v", err, got)
	}
	rec = recorded(strings.ReplaceAll(ev("a", 1)+end("ab", 2)+done, "completion_tokens", "other_tokens"))
	if got, err = Decode(rec); err != nil || got.Events[0].Tokens != stream.NotStated || got.Counts.Output.Known() {
		t.Errorf("not counted: %v, %+v", err, got)
	}
	rec = recorded(strings.ReplaceAll(end("ab", 2)+done, "cached_tokens", "other_tokens"))
	if got, err = Decode(rec); err != nil || got.Counts.Cached.Known() {
		t.Errorf("an absent count is known: %v, %+v", err, got.Counts)
	}
	rec = recorded(end("ab", 2) + done)
	rec.PromptIDs = 20
	if got, err = Decode(rec); err != nil || !got.Truncated {
		t.Errorf("a prompt that was cut is not seen: %v", err)
	}
	rec = recorded(ev("Hello", 1) + ev("Hello w", 2) + ev("Hello wo", 3) + ev("Hello wor", 4) + ev("Hello worl", 5) + end("Hullo world", 6) + done)
	if got, err = Decode(rec); err != nil || len(got.Disagree) != 1 {
		t.Errorf("a text that was rewritten: %v, %v", err, got.Disagree)
	}
}

// TestDecodeLong is a stream of many events, whose texts are all held to the one before.
func TestDecodeLong(t *testing.T) {
	const n = 2000
	var body strings.Builder
	text := ""
	for i := 1; i < n; i++ {
		text += "word "
		body.WriteString(ev(text, i))
	}
	body.WriteString(end(text+"end", n) + done)
	began := time.Now()
	got, err := Decode(recorded(body.String()))
	if err != nil || len(got.Events) != n {
		t.Fatalf("%v, %d events", err, len(got.Events))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d events of %d MiB took %v", n, body.Len()>>20, took)
	}
}

// FuzzDecode holds that no body breaks the decoder, that decoding is pure, and that what events hold adds up.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"synthetic_generate_whole.sse", "synthetic_generate_incremental.sse", "synthetic_generate_abort.sse", "synthetic_chat.sse"} {
		f.Add(fixture(f, name).Data, "", true)
	}
	f.Add([]byte(ev("a\uFFFD", 1)+ev("b", 2)+done), textWhole, true)
	f.Add([]byte(`{"error":{}}`), textDelta, false)
	f.Fuzz(func(t *testing.T, body []byte, hint string, native bool) {
		rec := recorded(string(body))
		rec.Sent[sentText] = hint
		if !native {
			rec.Protocol = openai.ProtocolChat
		}
		one, err := Decode(rec)
		two, err2 := Decode(rec)
		if diff := cmp.Diff(one, two); diff != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("two decodes differ: %s", diff)
		}
		sum := 0
		for _, e := range one.Events {
			if e.Kind != stream.Silent && e.Text == "" || e.Tokens < stream.NotStated {
				t.Fatalf("event %+v", e)
			}
			sum += max(e.Tokens, 0)
		}
		if native && err == nil && one.Counts.Output.Known() && sum > 0 && sum > one.Counts.Output.N {
			t.Fatalf("%d tokens in events of %d", sum, one.Counts.Output.N)
		}
	})
}
