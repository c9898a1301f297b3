package lmstudio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recording is a fixture as it would have been read, a line a read.
func recording(t *testing.T, file string) stream.Recording {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	rec := stream.Recording{Protocol: openai.ProtocolChat, Status: 200, Data: b, Outcome: stream.Complete, Sent: map[string]string{sentTokens: "8"}}
	if strings.Contains(file, "native") {
		rec.Protocol = protocolNative
	}
	for i, c := range b {
		if c == '\n' {
			rec.Reads = append(rec.Reads, stream.Read{End: i + 1, At: time.Duration(len(rec.Reads)+1) * time.Millisecond})
		}
	}
	return rec
}

// short writes events as kinds: c content, r reasoning.
func short(events []stream.Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteByte("scrt"[e.Kind])
	}
	return b.String()
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		file      string
		sent      map[string]string
		events    string
		text      string
		counts    stream.Counts
		server    stream.ServerTiming
		finish    string
		model     string
		truncated bool
		extra     string // that is kept
		err       error
	}{
		{file: "synthetic_v0.sse", events: "cc", text: "Greetings", counts: stream.Counts{Prompt: count(24), Output: count(53)}, finish: stream.FinishStop, model: "granite-3.0-2b-instruct",
			server: stream.ServerTiming{StatedDecode: 51.43709529007664, Definition: definition}, extra: `"generation_time":0.954`},
		{file: "synthetic_v0.sse", events: "cc", text: "Greetings", counts: stream.Counts{Prompt: count(24), Output: count(53)}, finish: stream.FinishStop, model: "granite-3.0-2b-instruct",
			server: stream.ServerTiming{StatedDecode: 51.43709529007664, Definition: definition}, extra: "llama.cpp-mac", sent: map[string]string{sentModel: "another"}, err: drivers.ErrModelNotFound},
		{file: "synthetic_chat.sse", events: "rc", text: "HmYes 東", counts: stream.Counts{Prompt: count(5000), Output: count(4), Reasoning: count(1)}, finish: stream.FinishLength, model: "qwen3-4b",
			sent: map[string]string{sentContext: "8192"}},
		{file: "synthetic_chat.sse", events: "rc", text: "HmYes 東", counts: stream.Counts{Prompt: count(5000), Output: count(4), Reasoning: count(1)}, finish: stream.FinishLength, model: "qwen3-4b",
			sent: map[string]string{sentContext: "4096"}, truncated: true},
		{file: "synthetic_native.sse", events: "rcc", text: "Need toThe current 東", counts: stream.Counts{Prompt: count(329), Output: count(8), Reasoning: count(5)}, finish: stream.FinishLength,
			model: "openai/gpt-oss-20b", server: stream.ServerTiming{StatedDecode: 43.73, Definition: definition}, extra: `"time_to_first_token_seconds":0.781`},
		{file: "synthetic_native.sse", sent: map[string]string{sentTokens: "9"}, events: "rcc", text: "Need toThe current 東", counts: stream.Counts{Prompt: count(329), Output: count(8), Reasoning: count(5)},
			finish: stream.FinishStop, model: "openai/gpt-oss-20b", server: stream.ServerTiming{StatedDecode: 43.73, Definition: definition}},
		{file: "synthetic_native_load.sse", events: "c", text: "Hi", counts: stream.Counts{Prompt: count(3), Output: count(1), Reasoning: count(0)}, model: "m",
			server: stream.ServerTiming{StatedDecode: 43.73, Definition: definition}, err: drivers.ErrOverloaded},
		{file: "synthetic_native_error.sse", events: "c", text: "Hi", counts: stream.Counts{Prompt: count(3), Output: count(1)}, model: "m", err: drivers.ErrServer},
	} {
		rec := recording(t, c.file)
		for k, v := range c.sent {
			rec.Sent[k] = v
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
			"finish": cmp.Diff(c.finish, tr.Finish), "model": cmp.Diff(c.model, tr.Model), "truncated": cmp.Diff(c.truncated, tr.Truncated),
		} {
			if d != "" {
				t.Errorf("%s: %s: %s", c.file, what, d)
			}
		}
		if !strings.Contains(string(tr.Extra), c.extra) {
			t.Errorf("%s: extra %s lacks %s", c.file, tr.Extra, c.extra)
		}
	}
}

func TestDecodeNativeOddBodies(t *testing.T) {
	const end = "data: {\"type\":\"chat.end\",\"result\":{}}\n\n"
	for _, c := range []struct {
		name, body string
		outcome    stream.Outcome
		status     int
		want       error
		says       string
	}{
		{"empty", "", stream.Complete, 200, drivers.ErrTruncated, "no chat.end"},
		{"a page", "<html>x</html>", stream.Complete, 200, drivers.ErrProtocol, "want an event stream"},
		{"an error with status 200", unknownEndpoint, stream.Complete, 200, drivers.ErrServer, "Unexpected endpoint"},
		{"an answer in one piece", `{"model_instance_id":"m","output":[]}`, stream.Complete, 200, drivers.ErrProtocol, "want an event stream"},
		{"no model", "event: error\ndata: {\"error\":{\"type\":\"model_not_found\",\"message\":\"no such model\"}}\n\n", stream.Complete, 200, drivers.ErrModelNotFound, "no such model"},
		{"an error that says nothing", "event: error\ndata: {}\n\n" + end, stream.Complete, 200, drivers.ErrServer, ""},
		{"garbage", "data: {\"type\":\n\n" + end, stream.Complete, 200, drivers.ErrProtocol, "not a JSON object"},
		{"garbage, cut", "data: {\"type\":\n\n", stream.Cut, 200, drivers.ErrReset, ""},
		{"odd types", "data: [1]\n\ndata: null\n\ndata: {\"type\":5,\"content\":{}}\n\n" + end, stream.Complete, 200, nil, ""},
		{"a status", `{"error":{"message":"bad"}}`, stream.Complete, 400, drivers.ErrBadRequest, "bad"},
		{"no answer", "", stream.Cut, 0, drivers.ErrReset, ""},
		{"deadline", "", stream.Deadline, 200, drivers.ErrTimeout, ""},
	} {
		_, err := Decode(stream.Recording{Protocol: protocolNative, Status: c.status, Data: []byte(c.body), Outcome: c.outcome, Fault: "x"})
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, want %v, %q", c.name, err, c.want, c.says)
		}
	}
}

// TestOracleNative plays the cases of streams whose truth is known. The conformance suite plays those of the other endpoints.
func TestOracleNative(t *testing.T) {
	d := oracle.DialectOf("lmstudio-v1")
	if d == nil {
		t.Fatal("package oracle has no dialect lmstudio-v1")
	}
	played := 0
	for _, c := range d.Cases() {
		like := stream.Recording{Protocol: protocolNative, Sent: map[string]string{sentTokens: fmt.Sprint(c.Asked.Output)}}
		one := func(name string, cut *judge.Cutting) {
			rec := judge.Recording(&c, like)
			if cut != nil {
				rec = cut.Apply(rec)
			}
			tr, err := Decode(rec)
			s := measure.Request(rec, tr, judge.Asked(&c, err))
			if d := cmp.Diff(judge.WantWords(&c), judge.WordsOf(&s, &tr)); d != "" {
				t.Errorf("%s, %s: (- want, + got)\n%s", c.Name, name, d)
			}
			if w := judge.WrongError(&c, err); w != "" {
				t.Errorf("%s, %s: %s", c.Name, name, w)
			}
			if cut != nil {
				for _, w := range cut.Wrong(&c, &s) {
					t.Errorf("%s, %s: %s", c.Name, name, w)
				}
				return
			}
			for _, f := range judge.Figures(&c, &s, nil) {
				if w := f.Wrong(true); w != "" {
					t.Errorf("%s: %s", c.Name, w)
				}
			}
			if w := judge.WrongFlags(&c, &s); w != "" {
				t.Errorf("%s: %s", c.Name, w)
			}
			played++
		}
		one("whole", nil)
		for _, cut := range judge.Cuttings(&c, 1) {
			one(cut.Name, &cut)
		}
	}
	if played < 20 {
		t.Errorf("only %d cases", played)
	}
}

// FuzzDecode holds that no body breaks the decoders, that counts are counts, and that no time is made up.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/synthetic_*.sse")
	if err != nil || len(files) < 5 {
		f.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, strings.Contains(file, "native"))
	}
	f.Fuzz(func(t *testing.T, body []byte, isNative bool) {
		rec := stream.Recording{Protocol: openai.ProtocolChat, Status: 200, Data: body, Outcome: stream.Complete, Sent: map[string]string{sentTokens: "8", sentContext: "100"}}
		rec.Reads = []stream.Read{{End: len(body), At: 1}}
		if isNative {
			rec.Protocol = protocolNative
		}
		tr, err := Decode(rec)
		for _, c := range []stream.Count{tr.Counts.Prompt, tr.Counts.Cached, tr.Counts.Output, tr.Counts.Reasoning} {
			if c.Known() && c.N < 0 {
				t.Fatalf("counts %+v", tr.Counts)
			}
		}
		if s := tr.Server; isNative && (s.Prefill != 0 || s.Decode != 0 || s.StatedDecode < 0 || s.StatedDecode > 0 && s.Definition == "") {
			t.Fatalf("timing %+v", s)
		}
		if isNative && err == nil && tr.Counts.Output.Known() && tr.Finish == "" {
			t.Fatal("no finish reason")
		}
	})
}
