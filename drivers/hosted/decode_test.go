package hosted

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recording is a whole stream of a service, an event a millisecond.
func recording(service string, events []string) stream.Recording {
	rec := stream.Recording{Protocol: openai.ProtocolChat, Status: 200, Outcome: stream.Complete, Sent: map[string]string{sentService: service}, Header: map[string]string{}}
	for i, e := range events {
		rec.Data = append(rec.Data, e...)
		rec.Reads = append(rec.Reads, stream.Read{End: len(rec.Data), At: time.Duration(i+1) * time.Millisecond})
	}
	return rec
}

// TestServerTiming has each service's own times, from streams written after its API reference: 25 prompt tokens, 5 of them
// cached, in 0.1 s, and 40 output tokens in 0.39 s.
func TestServerTiming(t *testing.T) {
	uncached := stream.Count{N: 20, From: stream.Usage}
	for _, c := range []struct {
		service string
		want    stream.ServerTiming
	}{
		{"openai", stream.ServerTiming{}},
		{"openrouter", stream.ServerTiming{}},
		{"together", stream.ServerTiming{}},
		{"deepseek", stream.ServerTiming{}},
		{"groq", stream.ServerTiming{Queue: 20 * time.Millisecond, PromptTokens: uncached, Prefill: 100 * time.Millisecond, DecodeTokens: 39, Decode: 390 * time.Millisecond}},
		{"cerebras", stream.ServerTiming{Queue: 20 * time.Millisecond, PromptTokens: uncached, Prefill: 100 * time.Millisecond, DecodeTokens: 39, Decode: 390 * time.Millisecond}},
		{"fireworks", stream.ServerTiming{Queue: 5 * time.Millisecond, PromptTokens: uncached, Prefill: 100 * time.Millisecond, DecodeTokens: 39, Decode: 390 * time.Millisecond}},
	} {
		tr, err := Decode(recording(c.service, synthetic()[c.service]))
		if err != nil {
			t.Fatalf("%s: %v", c.service, err)
		}
		if (tr.Server.Definition == "") != (c.want.Prefill == 0) {
			t.Errorf("%s: definition %q", c.service, tr.Server.Definition)
		}
		tr.Server.Definition = ""
		if diff := cmp.Diff(c.want, tr.Server); diff != "" {
			t.Errorf("%s: %s", c.service, diff)
		}
		if tr.Finish != stream.FinishLength || tr.Model != "m" {
			t.Errorf("%s: finish %q, model %q", c.service, tr.Finish, tr.Model)
		}
	}
}

// TestOddTiming: times that are none give no rate and no crash.
func TestOddTiming(t *testing.T) {
	for _, info := range []string{`{}`, `null`, `7`, `"x"`, `[]`, `{"prompt_time":-1,"completion_time":"soon","queue_time":1e300}`, `{"prompt_time":null,"completion_time":[],"queue_time":{}}`, `{"prompt_time":0,"completion_time":0}`, `{"prompt_time":86401}`} {
		rec := recording("cerebras", []string{
			event(`{"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}`),
			event(`{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":40},"time_info":` + info + `}`), "data: [DONE]\n\n",
		})
		tr, err := Decode(rec)
		if err != nil || tr.Server != (stream.ServerTiming{}) {
			t.Errorf("%s: %v, %+v", info, err, tr.Server)
		}
	}
	// Groq says nothing of cached tokens for some models: the whole prompt stands, and package measure knows that it may not.
	tr, err := Decode(recording("groq", []string{
		event(`{"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}`),
		event(`{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}],"x_groq":{"usage":{"prompt_tokens":50,"completion_tokens":1,"prompt_time":0.5,"completion_time":0.001}}}`), "data: [DONE]\n\n",
	}))
	if err != nil || tr.Server.PromptTokens.N != 50 || tr.Counts.Cached.Known() || tr.Server.DecodeTokens != 0 {
		t.Errorf("%v, %+v, %+v", err, tr.Server, tr.Counts)
	}
}

func TestKept(t *testing.T) {
	rec := recording("openrouter", synthetic()["openrouter"])
	rec.Header["x-generation-id"] = "gen-1"
	tr, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	var extra struct {
		Provider   string `json:"provider"`
		Generation string `json:"x-generation-id"`
		Usage      struct {
			Cost float64 `json:"cost"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(tr.Extra, &extra); err != nil || extra.Provider != "DeepInfra" || extra.Generation != "gen-1" || extra.Usage.Cost != 0.000123 {
		t.Errorf("%v, %s", err, tr.Extra)
	}
}

// TestHeldTo: an answer from another provider, of another model or out of a cache of answers is no sample.
func TestHeldTo(t *testing.T) {
	good := synthetic()["openrouter"]
	for _, c := range []struct {
		name string
		sent map[string]string
		head map[string]string
		want error
		text []string
	}{
		{"the same", map[string]string{sentProvider: "deepinfra", sentModel: "m"}, nil, nil, nil},
		{"another provider", map[string]string{sentProvider: "Groq"}, nil, drivers.ErrServer, []string{"DeepInfra", "Groq"}},
		{"another model", map[string]string{sentModel: "n"}, nil, drivers.ErrModelNotFound, []string{`"m"`, `"n"`}},
		{"a cached answer", nil, map[string]string{"x-openrouter-cache-status": "HIT"}, drivers.ErrServer, []string{"cache of answers"}},
	} {
		rec := recording("openrouter", good)
		for k, v := range c.sent {
			rec.Sent[k] = v
		}
		for k, v := range c.head {
			rec.Header[k] = v
		}
		tr, err := Decode(rec)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) || len(tr.Events) != 3 {
			t.Errorf("%s: %v, %d events", c.name, err, len(tr.Events))
		}
		for _, part := range c.text {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not name %s", c.name, err, part)
			}
		}
	}
}

func TestComments(t *testing.T) {
	// Comments are no text, whenever they come.
	events := []string{": keep-alive\n\n", ": keep-alive\n\n"}
	events = append(events, synthetic()["deepseek"]...)
	tr, err := Decode(recording("deepseek", events))
	if err != nil || len(tr.Events) != 3 || tr.Events[0].At != 6*time.Millisecond || tr.Events[0].Kind != stream.Reasoning {
		t.Errorf("%v, %+v", err, tr.Events)
	}
	if tr.Counts.Cached != (stream.Count{N: 5, From: stream.Usage}) {
		t.Errorf("cached %+v", tr.Counts.Cached)
	}
}

func FuzzDecode(f *testing.F) {
	for name, events := range synthetic() {
		f.Add(name, []byte(strings.Join(events, "")))
	}
	f.Add("groq", []byte(`data: {"x_groq":{"usage":[]},"choices":[{"delta":{"content":1}}]}`+"\n\n"))
	f.Add("cerebras", []byte("data: {\"time_info\":\"\",\"usage\":{}}\n\ndata: [DONE]\n\n"))
	f.Fuzz(func(t *testing.T, service string, data []byte) {
		rec := stream.Recording{Protocol: openai.ProtocolChat, Status: 200, Outcome: stream.Complete, Data: data,
			Reads: []stream.Read{{End: len(data), At: 1}}, Sent: map[string]string{sentService: service}, Header: map[string]string{"x-request-id": "1"}}
		tr, err := Decode(rec)
		if s := tr.Server; s.Prefill < 0 || s.Decode < 0 || s.Queue < 0 || s.DecodeTokens < 0 || s.PromptTokens.N < 0 {
			t.Errorf("%+v", s)
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
