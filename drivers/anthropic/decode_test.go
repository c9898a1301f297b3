package anthropic

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recording is a whole stream, an event a millisecond.
func recording(events ...string) stream.Recording {
	rec := stream.Recording{Protocol: Protocol, Status: 200, Outcome: stream.Complete, Sent: map[string]string{}, Header: map[string]string{}}
	for i, e := range events {
		rec.Data = append(rec.Data, e...)
		rec.Reads = append(rec.Reads, stream.Read{End: len(rec.Data), At: time.Duration(i+1) * time.Millisecond})
	}
	return rec
}

func start(usage string) string {
	return named("message_start", `{"type":"message_start","message":{"model":"m","usage":`+usage+`}}`)
}

func delta(kind, field, text string) string {
	b, _ := json.Marshal(text)
	return named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"`+kind+`","`+field+`":`+string(b)+`}}`)
}

func last(reason, usage string) string {
	return named("message_delta", `{"type":"message_delta","delta":{"stop_reason":"`+reason+`"},"usage":`+usage+`}`)
}

var stop = named("message_stop", `{"type":"message_stop"}`)

func known(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

// TestDecode holds the streams of Anthropic's API reference, written by hand, to what they mean.
func TestDecode(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		kinds  string // c content, r reasoning, t tool, one an event
		text   string
		counts stream.Counts
		finish string
		err    error
		says   string
	}{
		{
			name:   "the three parts of a prompt are added, the output's counts are not",
			events: []string{start(`{"input_tokens":12,"cache_read_input_tokens":1000,"cache_creation_input_tokens":500,"output_tokens":3}`), delta("text_delta", "text", "Hi"), last("end_turn", `{"output_tokens":9}`), last("end_turn", `{"output_tokens":17}`), stop},
			kinds:  "c", text: "Hi", counts: stream.Counts{Prompt: known(1512), Cached: known(1000), Output: known(17)}, finish: stream.FinishStop,
		},
		{
			name:   "no word about a cache",
			events: []string{start(`{"input_tokens":12,"output_tokens":1}`), delta("text_delta", "text", "Hi"), last("max_tokens", `{"output_tokens":9}`), stop},
			kinds:  "c", text: "Hi", counts: stream.Counts{Prompt: known(12), Output: known(9)}, finish: stream.FinishLength,
		},
		{
			name:   "the counts of the start are no count of the output",
			events: []string{start(`{"input_tokens":12,"output_tokens":1}`), delta("text_delta", "text", "Hi"), last("max_tokens", `{}`), stop},
			kinds:  "c", text: "Hi", counts: stream.Counts{Prompt: known(12)}, finish: stream.FinishLength,
		},
		{
			name:   "later counts of the prompt win",
			events: []string{start(`{"input_tokens":12,"cache_read_input_tokens":0,"output_tokens":1}`), delta("text_delta", "text", "Hi"), last("end_turn", `{"input_tokens":20,"cache_read_input_tokens":5,"output_tokens":9}`), stop},
			kinds:  "c", text: "Hi", counts: stream.Counts{Prompt: known(25), Cached: known(5), Output: known(9)}, finish: stream.FinishStop,
		},
		{
			name: "thinking comes first, is a summary, and hides its tokens",
			events: []string{start(`{"input_tokens":12,"output_tokens":1}`), named("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`),
				delta("thinking_delta", "thinking", "Let me"), delta("signature_delta", "signature", "EqQBCgIYAhIM"), delta("text_delta", "text", "Yes"), last("end_turn", `{"output_tokens":400}`), stop},
			kinds: "rc", text: "Let meYes", counts: stream.Counts{Prompt: known(12), Output: known(400), Hidden: true}, finish: stream.FinishStop,
		},
		{
			name: "thinking that is not shown",
			events: []string{start(`{"input_tokens":12,"output_tokens":1}`), named("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"EmwKAhgB"}}`),
				delta("text_delta", "text", "Yes"), last("end_turn", `{"output_tokens":400}`), stop},
			kinds: "c", text: "Yes", counts: stream.Counts{Prompt: known(12), Output: known(400), Hidden: true}, finish: stream.FinishStop,
		},
		{
			name: "a tool call, piece by piece",
			events: []string{start(`{"input_tokens":12,"output_tokens":1}`), named("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"read","input":{}}}`),
				delta("input_json_delta", "partial_json", ""), delta("input_json_delta", "partial_json", `{"path":`), delta("input_json_delta", "partial_json", `"a"}`), last("tool_use", `{"output_tokens":30}`), stop},
			kinds: "ttt", text: `read{"path":"a"}`, counts: stream.Counts{Prompt: known(12), Output: known(30)}, finish: stream.FinishTool,
		},
		{
			name:   "pings, starts, stops and what nobody knows are no text",
			events: []string{named("ping", `{"type":"ping"}`), start(`{"input_tokens":1,"output_tokens":1}`), named("ping", `{"type":"ping"}`), named("new_event", `{"type":"new_event","text":"x"}`), delta("citations_delta", "citation", "c"), delta("text_delta", "text", "a"), last("refusal", `{"output_tokens":2}`), stop},
			kinds:  "c", text: "a", counts: stream.Counts{Prompt: known(1), Output: known(2)}, finish: "refusal",
		},
		{
			name:   "no names of events, CRLF, no space",
			events: []string{"data:{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\r\n\r\n", "data:{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\r\n\r\n", "data:{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":{\"output_tokens\":2}}\r\n\r\n", "data:{\"type\":\"message_stop\"}\r\n\r\n"},
			kinds:  "c", text: "a", counts: stream.Counts{Prompt: known(1), Output: known(2)}, finish: stream.FinishLength,
		},
		{
			name:   "an overloaded service inside a 200 stream",
			events: []string{start(`{"input_tokens":1}`), delta("text_delta", "text", "a"), named("error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)},
			kinds:  "c", text: "a", counts: stream.Counts{Prompt: known(1)}, err: drivers.ErrOverloaded, says: "Overloaded",
		},
		{
			name:   "a limit inside a 200 stream",
			events: []string{named("error", `{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`)}, err: drivers.ErrRateLimited, says: "slow",
		},
		{
			name:   "an error of another form",
			events: []string{named("error", `{"error":"boom"}`)}, err: drivers.ErrServer, says: "boom",
		},
		{
			name:   "cut after its last counts",
			events: []string{start(`{"input_tokens":1}`), delta("text_delta", "text", "a"), last("end_turn", `{"output_tokens":2}`)},
			kinds:  "c", text: "a", counts: stream.Counts{Prompt: known(1), Output: known(2)}, finish: stream.FinishStop, err: drivers.ErrTruncated, says: "message_stop",
		},
		{
			name:   "wrong types everywhere",
			events: []string{start(`{"input_tokens":"12","cache_read_input_tokens":-1,"cache_creation_input_tokens":1.5,"output_tokens":[]}`), named("content_block_delta", `{"type":"content_block_delta","delta":{"type":"text_delta","text":7}}`), named("content_block_delta", `{"type":"content_block_delta","delta":"text"}`), delta("text_delta", "text", "a"), last("end_turn", `{"output_tokens":1e99}`), stop},
			kinds:  "c", text: "a", finish: stream.FinishStop,
		},
		{name: "a page", events: []string{"<html>\n<body>busy</body>\n"}, err: drivers.ErrProtocol, says: "want an event stream"},
		{name: "JSON in one piece", events: []string{`{"type":"message","content":[{"type":"text","text":"a"}]}` + "\n"}, err: drivers.ErrProtocol, says: "want an event stream"},
		{name: "an error in one piece", events: []string{`{"type":"error","error":{"type":"api_error","message":"boom"}}` + "\n"}, err: drivers.ErrServer, says: "boom"},
		{name: "nothing", events: nil, err: drivers.ErrTruncated, says: "no body"},
		{name: "garbage in an event", events: []string{"event: message_start\ndata: {nonsense\n\n"}, err: drivers.ErrProtocol, says: "not a JSON object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := Decode(recording(c.events...))
			if c.err == nil && err != nil || c.err != nil && (!errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v, want %v with %q", err, c.err, c.says)
			}
			kinds, text := "", ""
			for _, e := range tr.Events {
				kinds += string("?crt"[e.Kind])
				text += e.Text
				if e.Tokens != stream.NotStated {
					t.Errorf("event %q states %d tokens", e.Text, e.Tokens)
				}
			}
			if kinds != c.kinds || text != c.text || tr.Finish != c.finish {
				t.Errorf("events %q, text %q, finish %q; want %q, %q, %q", kinds, text, tr.Finish, c.kinds, c.text, c.finish)
			}
			if diff := cmp.Diff(c.counts, tr.Counts); diff != "" {
				t.Errorf("counts: %s", diff)
			}
		})
	}
}

func TestContextLength(t *testing.T) {
	for _, body := range []string{
		`{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 205000 tokens > 200000 maximum"}}`,
		"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000\"}}",
	} {
		rec := recording(body)
		rec.Status = 400
		if _, err := Decode(rec); !errors.Is(err, drivers.ErrContextLength) {
			t.Errorf("%s: %v", body, err)
		}
	}
	tr, err := Decode(recording(start(`{"input_tokens":1}`), delta("text_delta", "text", "a"), last("model_context_window_exceeded", `{"output_tokens":2}`), stop))
	if err != nil || !tr.Truncated {
		t.Errorf("%v, %+v", err, tr)
	}
}

func TestAnotherModel(t *testing.T) {
	rec := recording(synthetic...)
	rec.Sent[sentModel] = "m"
	if _, err := Decode(rec); err != nil {
		t.Error(err)
	}
	rec.Sent[sentModel] = "n"
	if _, err := Decode(rec); !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(err.Error(), `"n"`) {
		t.Errorf("%v", err)
	}
}

func TestExtra(t *testing.T) {
	rec := recording(synthetic...)
	rec.Header["request-id"] = "req_1"
	tr, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"request-id":"req_1","service_tier":"standard","stop_reason":"max_tokens","usage":{"cache_creation_input_tokens":8,"cache_read_input_tokens":5,"input_tokens":12,"output_tokens":64}}`
	if string(tr.Extra) != want {
		t.Errorf("got %s, want %s", tr.Extra, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(strings.Join(synthetic, "")))
	f.Add([]byte(start(`{"input_tokens":9e18,"cache_read_input_tokens":9223372036854775807}`) + last("x", `{"output_tokens":-1}`) + stop))
	f.Add([]byte(named("error", `{"type":"error","error":[]}`)))
	f.Add([]byte("data: {\"type\":\"content_block_start\",\"content_block\":null}\r\n\r\ndata: []\n\n{\"type\":\"error\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec := stream.Recording{Protocol: Protocol, Status: 200, Outcome: stream.Complete, Data: data, Reads: []stream.Read{{End: len(data), At: 1}}}
		tr, err := Decode(rec)
		for _, c := range []stream.Count{tr.Counts.Prompt, tr.Counts.Cached, tr.Counts.Output} {
			if c.N < 0 || c.N > 4e12 {
				t.Errorf("count %+v", c)
			}
		}
		for _, e := range tr.Events {
			if e.Text == "" {
				t.Error("an event without text")
			}
		}
		if tr.Extra != nil && !json.Valid(tr.Extra) {
			t.Errorf("extra %s", tr.Extra)
		}
		again, errAgain := Decode(rec)
		if (err == nil) != (errAgain == nil) || cmp.Diff(tr, again) != "" {
			t.Error("a second decode differs")
		}
	})
}
