package llamacpp

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestRecord makes the recordings that TestDecodeRecorded reads. It runs with -record only.
func TestRecord(t *testing.T) {
	if !drivertest.Recording() {
		t.Skip("only with -record")
	}
	for name, o := range map[string]weightstest.Options{"plain": {}, "held_bytes": {AddBOS: true, AllBytes: true}} {
		c := realConfig(t, testModel(t, o))
		c.Options[optArgs] = "--alias tiny"
		s, err := open(t.Context(), c, drivers.Need{Context: 512, Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		user := func(text string) drivers.Prompt {
			return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
		}
		for suffix, r := range map[string]drivers.Request{
			"":          {Prompt: user("first a long way of water"), OutputTokens: 40},
			"_warm":     {Prompt: user("first a long way of water"), OutputTokens: 8, Reuse: true},
			"_one":      {Prompt: user("one"), OutputTokens: 1},
			"_overflow": {Prompt: user(strings.Repeat(" the", 600)), OutputTokens: 8},
			"_cut":      {Prompt: user(strings.Repeat(" the", 480)), OutputTokens: 64},
		} {
			rec, err := s.Stream(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.MarshalIndent(rec, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join("testdata", "recorded", name+suffix+".json"), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.Close()
	}
}

// show prints a transcript for a golden file.
func show(tr stream.Transcript, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "counts %+v\nserver %+v\nfinish %q truncated %v model %q\nextra %s\nerror %v\n", tr.Counts, tr.Server, tr.Finish, tr.Truncated, tr.Model, tr.Extra, err)
	for _, e := range tr.Events {
		fmt.Fprintf(&b, "%d read %d kind %d tokens %d %q\n", e.At, e.Read, e.Kind, e.Tokens, e.Text)
	}
	return b.String()
}

func TestDecodeRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var rec stream.Recording
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatal(f, err)
		}
		got := show(Decode(rec))
		golden := strings.TrimSuffix(f, ".json") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s: %s", f, d)
		}
	}
}

// said makes a recording of lines, each of them one read, a millisecond apart.
func said(lines ...string) stream.Recording {
	rec := stream.Recording{Protocol: protocol, Status: 200, Outcome: stream.Complete}
	for i, l := range lines {
		rec.Data = append(rec.Data, l...)
		if !strings.HasSuffix(l, "|") {
			rec.Data = append(rec.Data, "\n\n"...)
		} else {
			rec.Data = rec.Data[:len(rec.Data)-1] // the line is cut there
		}
		rec.Reads = append(rec.Reads, stream.Read{End: len(rec.Data), At: time.Duration(i+1) * time.Millisecond})
	}
	return rec
}

func ev(text string, total int) string {
	b, _ := json.Marshal(text)
	return fmt.Sprintf(`data: {"index":0,"content":%s,"tokens":[1],"stop":false,"tokens_predicted":%d,"tokens_evaluated":9}`, b, total)
}

const final = `data: {"content":"","tokens":[],"stop":true,"stop_type":"limit","tokens_predicted":4,"tokens_evaluated":9,"timings":{"cache_n":2,"prompt_n":7,"prompt_ms":7,"prompt_per_second":1000,"predicted_n":4,"predicted_ms":6,"predicted_per_second":500}}`

func TestDecodeEvents(t *testing.T) {
	type event struct {
		Kind   stream.Kind
		Tokens int
		Text   string
	}
	for _, c := range []struct {
		name  string
		lines []string
		sent  map[string]string
		want  []event
	}{
		{"one by one", []string{ev("a", 1), ev("b", 2), ev("c", 3), ev("d", 4), final}, nil,
			[]event{{stream.Content, 1, "a"}, {stream.Content, 1, "b"}, {stream.Content, 1, "c"}, {stream.Content, 1, "d"}}},
		{"held, then several", []string{ev("a", 1), ev("é!", 4), final}, nil,
			[]event{{stream.Content, 1, "a"}, {stream.Content, 3, "é!"}}},
		{"silent at the end", []string{ev("a", 1), final}, nil,
			[]event{{stream.Content, 1, "a"}, {stream.Silent, 3, ""}}},
		{"silent first", []string{ev("", 1), ev("b", 4), final}, nil,
			[]event{{stream.Silent, 1, ""}, {stream.Content, 3, "b"}}},
		{"no text at all", []string{final}, nil, []event{{stream.Silent, 4, ""}}},
		{"progress is no token", []string{
			`data: {"content":"","tokens":[0],"tokens_predicted":0,"prompt_progress":{"total":9,"cache":0,"processed":4}}`, ": ping", ev("a", 4), final}, nil,
			[]event{{stream.Content, 4, "a"}}},
		{"an old server counts nothing", []string{`data: {"content":"a","stop":false}`, `data: {"content":"b","stop":false}`, strings.Replace(final, `"tokens_predicted":4,`, "", 1)}, nil,
			[]event{{stream.Content, stream.NotStated, "a"}, {stream.Content, stream.NotStated, "b"}}},
		{"counts that run backwards are none", []string{ev("a", 3), ev("b", 2), final}, nil,
			[]event{{stream.Content, stream.NotStated, "a"}, {stream.Content, stream.NotStated, "b"}}},
		{"thinking", []string{ev("<th", 1), ev("ink>so", 2), ev("</thi", 3), ev("nk>", 3), ev("yes", 4), final}, nil,
			[]event{{stream.Reasoning, 1, "<th"}, {stream.Reasoning, 1, "ink>so"}, {stream.Reasoning, 1, "</thi"}, {stream.Reasoning, 0, "nk>"}, {stream.Content, 1, "yes"}}},
		{"thinking that the prompt began", []string{ev("so", 1), ev("</think>", 2), ev("yes", 4), final}, map[string]string{sentThinking: thinkingOpen},
			[]event{{stream.Reasoning, 1, "so"}, {stream.Reasoning, 1, "</think>"}, {stream.Content, 2, "yes"}}},
		{"thinking as another family marks it", []string{ev("[THINK]so", 2), ev("[/THINK]", 3), ev("yes", 4), final}, nil,
			[]event{{stream.Reasoning, 2, "[THINK]so"}, {stream.Reasoning, 1, "[/THINK]"}, {stream.Content, 1, "yes"}}},
		{"no thinking", []string{ev("<table>", 2), ev("<think>", 4), final}, nil,
			[]event{{stream.Content, 2, "<table>"}, {stream.Content, 2, "<think>"}}},
		{"blanks only", []string{ev("\n", 2), ev(" ", 4), final}, nil,
			[]event{{stream.Content, 2, "\n"}, {stream.Content, 2, " "}}},
	} {
		rec := said(c.lines...)
		rec.Sent = c.sent
		tr, err := Decode(rec)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []event
		for _, e := range tr.Events {
			got = append(got, event{e.Kind, e.Tokens, e.Text})
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestDecodeCounts(t *testing.T) {
	rec := said(ev("a", 4), final)
	rec.Sent = map[string]string{sentThinking: thinkingNone}
	tr, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	want := stream.Counts{Prompt: stream.Count{N: 9, From: "B"}, Cached: stream.Count{N: 2, From: "B"}, Output: stream.Count{N: 4, From: "B"}, Reasoning: stream.Count{N: 0, From: "B"}}
	if d := cmp.Diff(want, tr.Counts); d != "" {
		t.Error(d)
	}
	timing := stream.ServerTiming{PromptTokens: stream.Count{N: 7, From: "B"}, Prefill: 7 * time.Millisecond, DecodeTokens: 3, Decode: 6 * time.Millisecond,
		Definition: definition, StatedDecode: 500, StatedPrefill: 1000}
	if d := cmp.Diff(timing, tr.Server); d != "" {
		t.Error(d)
	}
	// A model that may think, and shows nothing of it, leaves the count open.
	if tr, err := Decode(said(ev("a", 4), final)); err != nil || tr.Counts.Reasoning.Known() {
		t.Errorf("reasoning %+v, %v", tr.Counts.Reasoning, err)
	}
	// What a server does not state stays unknown.
	tr, err = Decode(said(`data: {"content":"a","stop":false}`, `data: {"content":"","stop":true,"stopped_eos":true,"timings":{"prompt_n":7,"prompt_ms":null,"predicted_n":1,"predicted_ms":0.001,"predicted_per_second":1000000}}`))
	if err != nil || tr.Counts.Cached.Known() || tr.Counts.Prompt.Known() || tr.Counts.Output != (stream.Count{N: 1, From: "B"}) || tr.Counts.Reasoning.Known() ||
		tr.Server != (stream.ServerTiming{}) || tr.Finish != stream.FinishStop {
		t.Errorf("%+v, %v", tr, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	cut := func(rec stream.Recording) stream.Recording {
		rec.Outcome, rec.Fault = stream.Cut, "gone"
		return rec
	}
	for _, c := range []struct {
		name string
		rec  stream.Recording
		want error
	}{
		{"no final event", said(ev("a", 1)), drivers.ErrTruncated},
		{"empty body", said(), drivers.ErrTruncated},
		{"connection lost", cut(said(ev("a", 1))), drivers.ErrReset},
		{"lost inside a line", cut(said(ev("a", 1), `data: {"conte|`)), drivers.ErrTruncated},
		{"never answered", stream.Recording{Outcome: stream.Cut}, drivers.ErrReset},
		{"deadline", stream.Recording{Status: 200, Outcome: stream.Deadline}, drivers.ErrTimeout},
		{"cancelled", stream.Recording{Status: 200, Outcome: stream.Canceled}, context.Canceled},
		{"error event", said(ev("a", 1), `data: {"error":{"code":500,"message":"compute failed","type":"server_error"}}`), drivers.ErrServer},
		{"error event about the context", said(`data: {"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}`), drivers.ErrContextLength},
		{"error line of old servers", said(ev("a", 1), `error: {"code":503,"message":"busy","type":"unavailable_error"}`), drivers.ErrOverloaded},
		{"error line that is no JSON", said(`error: broken`), drivers.ErrServer},
		{"not JSON", said(`data: {"content":`), drivers.ErrProtocol},
		{"status", stream.Recording{Status: 401, Outcome: stream.Complete, Data: []byte(`{"error":{"message":"Invalid API Key"}}`)}, drivers.ErrAuth},
		{"redirect", stream.Recording{Status: 302, Outcome: stream.Complete}, drivers.ErrProtocol},
	} {
		if _, err := Decode(c.rec); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	other := said(ev("a", 4), strings.Replace(final, `"stop":true`, `"stop":true,"model":"/models/b.gguf"`, 1))
	other.Sent = map[string]string{sentModel: "a.gguf"}
	if _, err := Decode(other); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("another model: %v", err)
	}
	other.Sent[sentModel] = "b.gguf"
	if _, err := Decode(other); err != nil {
		t.Errorf("the same model: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(ev("a", 1)+"\n\n"+final+"\n\n"), 200, "")
	f.Add([]byte("error: {}\n"), 200, "open")
	f.Add([]byte(`{"error":{"message":"x"}}`), 400, "")
	f.Add([]byte("data: {\"content\":\"<think>\",\"tokens_predicted\":-1}\n\n"), 200, "")
	f.Fuzz(func(t *testing.T, data []byte, status int, thinking string) {
		rec := stream.Recording{Status: status, Data: data, Reads: []stream.Read{{End: len(data), At: 1}}, Outcome: stream.Complete, Sent: map[string]string{sentThinking: thinking}}
		tr, err := Decode(rec)
		if status < 300 && err == nil && !strings.Contains(string(data), "stop") {
			t.Error("a stream without its final event passes")
		}
		for _, e := range tr.Events {
			if e.Kind != stream.Silent && e.Text == "" || e.Tokens < stream.NotStated {
				t.Errorf("event %+v", e)
			}
		}
		if tr.Counts.Output.Known() && tr.Counts.Output.N < 0 || tr.Server.Decode < 0 || tr.Server.Prefill < 0 {
			t.Errorf("counts %+v, server %+v", tr.Counts, tr.Server)
		}
	})
}
