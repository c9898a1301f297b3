package openai

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recording is a complete HTTP 200 event stream whose every line came by a read of its own, a millisecond apart.
func recording(data string) stream.Recording {
	rec := stream.Recording{Protocol: ProtocolChat, Status: 200, Header: map[string]string{"content-type": "text/event-stream"},
		Data: []byte(data), Outcome: stream.Complete}
	for i := range data {
		if data[i] == '\n' || i == len(data)-1 {
			rec.Reads = append(rec.Reads, stream.Read{End: i + 1, At: time.Duration(len(rec.Reads)+1) * time.Millisecond})
		}
	}
	return rec
}

// show writes a transcript in one line: events as kind:text/tokens, then counts with their provenance, then the finish.
func show(t stream.Transcript) string {
	var b strings.Builder
	for _, e := range t.Events {
		tokens := "?"
		if e.Tokens != stream.NotStated {
			tokens = fmt.Sprint(e.Tokens)
		}
		fmt.Fprintf(&b, "%c:%q/%s ", "SCRT"[e.Kind], e.Text, tokens)
	}
	for i, c := range []stream.Count{t.Counts.Prompt, t.Counts.Cached, t.Counts.Output, t.Counts.Reasoning} {
		if c.Known() {
			fmt.Fprintf(&b, "%c=%d%s ", "PCNR"[i], c.N, c.From)
		}
	}
	b.WriteString(t.Finish)
	return strings.TrimSpace(b.String())
}

// body makes an event stream of JSON texts, with its end mark.
func body(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\ndata: [DONE]\n\n"
}

const (
	role    = `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`
	hello   = `{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}`
	world   = `{"choices":[{"index":0,"delta":{"content":" world"},"finish_reason":null}]}`
	stopped = `{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`
)

func TestDecode(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"plain", body(role, hello, world, stopped), `C:"Hello"/? C:" world"/? length`},
		{"usage last", body(role, hello, world, stopped, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}`),
			`C:"Hello"/? C:" world"/? P=9A C=0A N=2A R=0A length`},
		{"cached absent is unknown", body(hello, stopped, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":null}}`),
			`C:"Hello"/? P=9A N=1A length`},
		{"usage with the finish is no count of the event", body(hello, world, `{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":64}}`),
			`C:"Hello"/? C:" world"/? P=9A N=64A stop`},
		{"usage with the last text is no count of the event", body(hello, `{"choices":[{"index":0,"delta":{"content":"."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":64}}`),
			`C:"Hello"/? C:"."/? P=9A N=64A stop`},
		{"continuous usage", body(
			`{"choices":[{"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":9,"completion_tokens":0}}`,
			`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`,
			`{"choices":[{"delta":{"content":"bcd"}}],"usage":{"prompt_tokens":9,"completion_tokens":4}}`,
			`{"choices":[{"delta":{"content":""}}],"usage":{"prompt_tokens":9,"completion_tokens":6}}`,
			`{"choices":[{"delta":{"content":"é"},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":7}}`,
			`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":7}}`),
			`C:"a"/1 C:"bcd"/3 S:""/2 C:"é"/1 P=9A N=7A length`},
		{"running counts that stand still are none", body(
			`{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":1}}`,
			`{"choices":[{"delta":{"content":"b"}}],"usage":{"completion_tokens":1}}`,
			`{"choices":[{"delta":{"content":"c"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}`),
			`C:"a"/? C:"b"/? C:"c"/? N=1A stop`},
		{"running counts that fall are none", body(
			`{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":5}}`,
			`{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}`),
			`C:"a"/? C:"b"/? N=2A stop`},
		{"running counts with a gap are none", body(
			`{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":1}}`,
			`{"choices":[{"delta":{"content":"b"}}]}`,
			`{"choices":[{"delta":{"content":"c"},"finish_reason":"stop"}],"usage":{"completion_tokens":4}}`),
			`C:"a"/? C:"b"/? C:"c"/? N=4A stop`},
		{"token ids, one event silent", body(
			`{"choices":[{"delta":{"content":"a"},"token_ids":[1]}]}`,
			`{"choices":[{"delta":{"content":""},"token_ids":[2]}]}`,
			`{"choices":[{"delta":{"content":"é"},"token_ids":[3,4]}]}`,
			`{"choices":[{"delta":{},"finish_reason":"length","token_ids":[]}],"usage":{"prompt_tokens":1,"completion_tokens":4}}`),
			`C:"a"/1 S:""/1 C:"é"/2 P=1A N=4A length`},
		{"token ids that do not add up are not believed", body(
			`{"choices":[{"delta":{"content":"a"}}],"tokens":[1]}`,
			`{"choices":[{"delta":{"content":"é"}}],"tokens":[4]}`,
			stopped, `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":6}}`),
			`C:"a"/? C:"é"/? P=1A N=6A length`},
		{"llama.cpp timings without usage", body(role, hello, world,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"timings":{"cache_n":5,"prompt_n":95,"prompt_ms":50.5,"prompt_per_second":1881.2,"predicted_n":3,"predicted_ms":20,"predicted_per_second":100}}`),
			`C:"Hello"/? C:" world"/? P=100B C=5B N=3B length`},
		{"llama.cpp timings per token", body(
			`{"choices":[{"delta":{"content":"a"}}],"timings":{"cache_n":0,"prompt_n":9,"prompt_ms":5,"predicted_n":1,"predicted_ms":0.001}}`,
			`{"choices":[{"delta":{"content":"é"}}],"timings":{"cache_n":0,"prompt_n":9,"prompt_ms":5,"predicted_n":4,"predicted_ms":30}}`,
			`{"choices":[{"delta":{},"finish_reason":"length"}],"timings":{"cache_n":0,"prompt_n":9,"prompt_ms":5,"predicted_n":5,"predicted_ms":40}}`),
			`C:"a"/1 C:"é"/3 S:""/1 P=9B C=0B N=5B length`},
		{"prompt progress is none", body(`{"choices":[{"delta":{"content":""},"tokens":[0]}],"prompt_progress":{"total":900,"processed":512}}`, hello, stopped),
			`C:"Hello"/? length`},
		{"reasoning_content", body(`{"choices":[{"delta":{"reasoning_content":"hm","content":null}}]}`, hello, stopped), `R:"hm"/? C:"Hello"/? length`},
		{"reasoning", body(`{"choices":[{"delta":{"reasoning":"hm"}}]}`, hello, stopped), `R:"hm"/? C:"Hello"/? length`},
		{"thinking", body(`{"choices":[{"delta":{"thinking":"hm"}}]}`, hello, stopped), `R:"hm"/? C:"Hello"/? length`},
		{"reasoning_text", body(`{"choices":[{"delta":{"reasoning_text":"hm"}}]}`, hello, stopped), `R:"hm"/? C:"Hello"/? length`},
		{"reasoning_details", body(`{"choices":[{"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","text":"hm"},{"type":"reasoning.encrypted","data":"x"}]}}]}`, hello, stopped), `R:"hm"/? C:"Hello"/? length`},
		{"one text under two names", body(`{"choices":[{"delta":{"reasoning":"hm","reasoning_content":"hm","reasoning_details":[{"text":"hm"}]}}]}`, hello, stopped), `R:"hm"/? C:"Hello"/? length`},
		{"thinking parts", body(`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}}]}`, `{"choices":[{"delta":{"content":[{"type":"text","text":"Hi"}]}}]}`, stopped), `R:"hm"/? C:"Hi"/? length`},
		{"reasoning and content in one chunk count once", body(`{"choices":[{"delta":{"reasoning":"m","content":"H"}}],"usage":{"completion_tokens":2}}`, stopped), `R:"m"/2 C:"H"/0 N=2A length`},
		{"a reasoning count of 0 beside reasoning is none", body(`{"choices":[{"delta":{"reasoning":"m"}}]}`, stopped, `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"reasoning_tokens":0}}`), `R:"m"/? P=1A N=2A length`},
		{"tool call", body(role, `{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"read","arguments":""}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"p\":"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]}`,
			`{"choices":[{"delta":{"content":null,"tool_calls":null},"finish_reason":"tool_calls"}]}`),
			`T:"read"/? T:"{\"p\":"/? T:"1}"/? tool_calls`},
		{"tool arguments as an object", body(`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]}}]}`, stopped), `T:"f{\"x\":1}"/? length`},
		{"completions", body(`{"choices":[{"index":0,"text":"ab","finish_reason":null}]}`, `{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}`), `C:"ab"/? stop`},
		{"second choice left out", body(`{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"yes"}}]}`, stopped), `C:"yes"/? length`},
		{"odd types", body(`{"choices":[{"index":"0","delta":{"content":5,"tool_calls":"x","reasoning":{}},"finish_reason":null}],"usage":{"prompt_tokens":"9","completion_tokens":2.0}}`,
			`{"choices":null,"usage":null,"model":7,"timings":[]}`, `{"choices":[{"delta":null}]}`, `{}`, hello, stopped), `C:"Hello"/? N=2A length`},
		{"x_groq usage", body(hello, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"queue_time":0.1,"prompt_tokens":7,"completion_tokens":1,"prompt_time":0.01}}}`), `C:"Hello"/? P=7A N=1A stop`},
		{"no space, CRLF, comments, trailing space", ": hi\r\n\r\ndata:" + hello + " \r\n\r\n:\r\n\r\nevent: x\r\ndata: " + world + "\r\n\r\ndata:" + stopped + "\r\n\r\ndata: [DONE] \r\n\r\n", `C:"Hello"/? C:" world"/? length`},
		{"no end mark but a finish reason", "data: " + hello + "\n\ndata: " + stopped + "\n\n", `C:"Hello"/? length`},
		{"nothing after the last byte of the end mark", "data: " + hello + "\n\ndata: [DONE]", `C:"Hello"/?`},
		{"tokens and no text at all", body(role, stopped, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}`), `P=9A N=5A length`},
		{"event stream called JSON", ": x\n\n" + body(hello, stopped), `C:"Hello"/? length`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(recording(c.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, show(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeStampsAndReads(t *testing.T) {
	got, err := Decode(recording(body(role, hello, world, stopped)))
	if err != nil {
		t.Fatal(err)
	}
	// Lines: role, blank, hello, blank, world: each came by its own read.
	want := []stream.Event{
		{At: 3 * time.Millisecond, Read: 2, Kind: stream.Content, Text: "Hello", Tokens: stream.NotStated},
		{At: 5 * time.Millisecond, Read: 4, Kind: stream.Content, Text: " world", Tokens: stream.NotStated},
	}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeServerTiming(t *testing.T) {
	got, err := Decode(recording(body(hello, `{"model":"m","system_fingerprint":"b1","choices":[{"delta":{},"finish_reason":"length"}],"timings":{"cache_n":5,"prompt_n":95,"prompt_ms":50.5,"prompt_per_second":1881.2,"predicted_n":41,"predicted_ms":400,"predicted_per_second":102.5}}`)))
	if err != nil {
		t.Fatal(err)
	}
	got.Server.Definition = ""
	want := stream.ServerTiming{PromptTokens: stream.Count{N: 95, From: stream.TimingBlock}, Prefill: 50500 * time.Microsecond,
		DecodeTokens: 40, Decode: 400 * time.Millisecond, StatedDecode: 102.5, StatedPrefill: 1881.2}
	if diff := cmp.Diff(want, got.Server); diff != "" {
		t.Error(diff)
	}
	if got.Model != "m" || !strings.Contains(string(got.Extra), `"system_fingerprint":"b1"`) || !strings.Contains(string(got.Extra), `"cache_n":5`) {
		t.Errorf("model %q, extra %s", got.Model, got.Extra)
	}
	// One token has no decode interval: llama.cpp then prints a placeholder.
	got, err = Decode(recording(body(hello, `{"choices":[{"delta":{},"finish_reason":"length"}],"timings":{"prompt_n":1,"prompt_ms":1,"predicted_n":1,"predicted_ms":0.001,"predicted_per_second":1000000}}`)))
	if err != nil || got.Server.Decode != 0 || got.Server.DecodeTokens != 0 || got.Server.StatedDecode != 0 {
		t.Errorf("one token: %+v, %v", got.Server, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	cut := func(data string) stream.Recording {
		rec := recording(data)
		rec.Outcome, rec.Fault = stream.Cut, "the server closed the connection"
		return rec
	}
	status := func(status int, data string) stream.Recording {
		rec := recording(data)
		rec.Status, rec.Header = status, map[string]string{"content-type": "application/json", "retry-after": "7"}
		return rec
	}
	outcome := func(o stream.Outcome) stream.Recording {
		rec := recording("data: " + hello + "\n\n")
		rec.Outcome = o
		return rec
	}
	zipped := cut("")
	zipped.Header["content-encoding"] = "gzip"
	for _, c := range []struct {
		name string
		rec  stream.Recording
		kind error
		text string // in the error's text
		want string // of the transcript
	}{
		{"object", recording(body(hello, `{"error":{"message":"out of memory","type":"server_error"}}`)), drivers.ErrServer, "out of memory", `C:"Hello"/?`},
		{"object with code", recording(body(`{"error":{"message":"slow down","code":429}}`)), drivers.ErrRateLimited, "slow down", ``},
		{"object with type", recording(body(`{"error":{"message":"busy","type":"overloaded_error"}}`)), drivers.ErrOverloaded, "busy", ``},
		{"string", recording(body(hello, `{"error":"boom"}`)), drivers.ErrServer, "boom", `C:"Hello"/?`},
		{"named event", recording("event: error\ndata: {\"message\":\"boom\"}\n\n"), drivers.ErrServer, "boom", ``},
		{"named event of text", recording("event: error\ndata: boom\n\n"), drivers.ErrServer, "boom", ``},
		{"object error", recording(body(`{"object":"error","message":"no such model","code":404}`)), drivers.ErrModelNotFound, "no such model", ``},
		{"line that is no event", recording("data: " + hello + "\n\nerror: {\"code\":500,\"message\":\"slot gone\"}\n\n"), drivers.ErrServer, "slot gone", `C:"Hello"/?`},
		{"context", recording(body(`{"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}`)), drivers.ErrContextLength, "too long", ``},
		{"gave up", recording(body(hello, `{"choices":[{"delta":{},"finish_reason":"abort"}]}`)), drivers.ErrServer, "abort", `C:"Hello"/? abort`},
		{"no end mark", recording("data: " + hello + "\n\n"), drivers.ErrTruncated, "finish reason", `C:"Hello"/?`},
		{"cut inside a line, body complete", recording("data: " + hello + "\n\ndata: {\"choi"), drivers.ErrTruncated, "", `C:"Hello"/?`},
		{"cut inside the end mark", recording("data: " + hello + "\n\ndata: [DO"), drivers.ErrTruncated, "", `C:"Hello"/?`},
		{"empty", recording(""), drivers.ErrTruncated, "no body", ``},
		{"lost", cut("data: " + hello + "\n\ndata: {\"cho"), drivers.ErrReset, "closed", `C:"Hello"/?`},
		{"lost is truncated too", cut("data: " + hello + "\n\n"), drivers.ErrTruncated, "closed", `C:"Hello"/?`},
		{"lost after the finish reason", cut("data: " + stopped + "\n\n"), drivers.ErrReset, "", `length`},
		{"deadline", outcome(stream.Deadline), drivers.ErrTimeout, "", `C:"Hello"/?`},
		{"cancelled", outcome(stream.Canceled), context.Canceled, "", `C:"Hello"/?`},
		{"garbage", recording("data: " + hello + "\n\ndata: oops\n\ndata: [DONE]\n\n"), drivers.ErrProtocol, `"oops"`, `C:"Hello"/?`},
		{"not an object", recording("data: 17\n\n"), drivers.ErrProtocol, "17", ``},
		{"HTML", recording("<html>\n<p>hi</p>\n</html>\n"), drivers.ErrProtocol, "<html>", ``},
		{"in one piece", recording(`{"choices":[{"message":{"content":"Hello"}}]}`), drivers.ErrProtocol, "streaming", ``},
		{"error in one piece", recording("{\n  \"error\": {\"message\": \"boom\"}\n}\n"), drivers.ErrServer, "boom", ``},
		{"gzip", zipped, drivers.ErrProtocol, "gzip", ``},
		{"redirect", status(302, ""), drivers.ErrProtocol, "302", ``},
		{"400", status(400, `{"error":{"message":"bad"}}`), drivers.ErrBadRequest, "bad", ``},
		{"401", status(401, `{"error":"who"}`), drivers.ErrAuth, "who", ``},
		{"404", status(404, `{"detail":"Not Found"}`), drivers.ErrNotFound, "Not Found", ``},
		{"429", status(429, `slow`), drivers.ErrRateLimited, "retry after 7s", ``},
		{"503", status(503, ``), drivers.ErrOverloaded, "503", ``},
		{"529", status(529, ``), drivers.ErrOverloaded, "529", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(c.rec)
			if !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q is not in %q", c.text, err)
			}
			if diff := cmp.Diff(c.want, show(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
	var api *drivers.APIError
	if _, err := Decode(status(429, "slow")); !errors.As(err, &api) || api.RetryAfter != 7*time.Second || api.Status != 429 {
		t.Errorf("got %#v", api)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(body(role, hello, world, stopped, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}`)), uint8(3), true)
	f.Add([]byte(body(`{"choices":[{"delta":{"content":"a"},"token_ids":[1]}],"usage":{"completion_tokens":1},"timings":{"predicted_n":1,"predicted_ms":1e99}}`)), uint8(1), false)
	f.Add([]byte("error: {\"error\":7}\r\n\ndata:{\"error\":\"x\"}\n"), uint8(7), true)
	f.Add([]byte("event: error\ndata: {}\n\n{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":{}}}]}}]}"), uint8(2), true)
	f.Fuzz(func(t *testing.T, data []byte, step uint8, complete bool) {
		rec := stream.Recording{Status: 200, Data: data, Outcome: stream.Complete, Reads: []stream.Read{{End: len(data), At: 1}}}
		if !complete {
			rec.Outcome = stream.Cut
		}
		whole, wholeErr := Decode(rec)
		rec.Reads = nil
		for end := 0; end < len(data); {
			end = min(len(data), end+int(step)+1)
			rec.Reads = append(rec.Reads, stream.Read{End: end, At: time.Duration(end)})
		}
		parts, partsErr := Decode(rec)
		if show(whole) != show(parts) || fmt.Sprint(wholeErr) != fmt.Sprint(partsErr) {
			t.Errorf("cut into reads of %d:\n%s, %v\nwhole:\n%s, %v", step+1, show(parts), partsErr, show(whole), wholeErr)
		}
		last := time.Duration(0)
		for _, e := range parts.Events {
			if e.At < last || e.Read < 0 || e.Read >= len(rec.Reads) || e.Tokens < stream.NotStated || (e.Text == "") != (e.Kind == stream.Silent) {
				t.Errorf("event %+v after %v", e, last)
			}
			last = e.At
		}
		for _, c := range []stream.Count{parts.Counts.Prompt, parts.Counts.Cached, parts.Counts.Output, parts.Counts.Reasoning} {
			if c.Known() && c.N < 0 {
				t.Errorf("count %+v", c)
			}
		}
		if s := parts.Server; s.Prefill < 0 || s.Decode < 0 || s.DecodeTokens < 0 {
			t.Errorf("server %+v", s)
		}
	})
}
