package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// body makes a recording of a body, a read a line.
func body(text string) stream.Recording {
	rec := stream.Recording{Protocol: protocol, Status: 200, Data: []byte(text), Send: time.Millisecond, Outcome: stream.Complete, Sent: map[string]string{sentVersion: "0.17.4", sentFormat: "gguf"}}
	for i, b := range rec.Data {
		if b == '\n' || i == len(rec.Data)-1 {
			rec.Reads = append(rec.Reads, stream.Read{End: i + 1, At: time.Duration(len(rec.Reads)+2) * time.Millisecond})
		}
	}
	return rec
}

func known(n int) stream.Count { return stream.Count{N: n, From: stream.TimingBlock} }

func last(fields string) string {
	return `{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"length"` + fields + "}\n"
}

func TestDecodeFigures(t *testing.T) {
	text := say(`"content":"a"`)
	for _, c := range []struct {
		name   string
		fields string
		sent   map[string]string
		counts stream.Counts
		server stream.ServerTiming
		trunc  bool
		odd    int // figures that contradict each other
	}{
		{name: "0.17: what is cached is not told, nor what prefill was spent on",
			fields: `,"prompt_eval_count":25,"prompt_eval_duration":2201986,"eval_count":5,"eval_duration":808129`,
			counts: stream.Counts{Prompt: known(25), Output: known(5)},
			server: stream.ServerTiming{Prefill: 2201986, DecodeTokens: 4, Decode: 808129, Definition: definedByRunner + definedPrefill}},
		{name: "later versions tell what is cached",
			fields: `,"prompt_eval_count":21,"prompt_eval_cached_count":16,"prompt_eval_duration":56452000,"eval_count":971,"eval_duration":16767371000`,
			sent:   map[string]string{sentVersion: "0.34.0"},
			counts: stream.Counts{Prompt: known(21), Cached: known(16), Output: known(971)},
			server: stream.ServerTiming{PromptTokens: known(5), Prefill: 56452000, DecodeTokens: 970, Decode: 16767371000, Definition: definedByServer + definedPrefill}},
		{name: "nothing cached is a count too",
			fields: `,"prompt_eval_count":21,"prompt_eval_cached_count":0,"prompt_eval_duration":112370000,"eval_count":1`,
			sent:   map[string]string{sentVersion: "0.34.0"},
			counts: stream.Counts{Prompt: known(21), Cached: known(0), Output: known(1)},
			server: stream.ServerTiming{PromptTokens: known(21), Prefill: 112370000, Definition: "ollama metrics" + definedPrefill}},
		{name: "0.30: the count of the prompt may be its uncached part",
			fields: `,"prompt_eval_count":5,"prompt_eval_duration":56452000,"eval_count":10,"eval_duration":90000000`,
			sent:   map[string]string{sentVersion: "0.30.0"},
			counts: stream.Counts{Output: known(10)},
			server: stream.ServerTiming{Prefill: 56452000, DecodeTokens: 9, Decode: 90000000, Definition: definedByServer + definedPrefill}},
		{name: "more cached than there is",
			fields: `,"prompt_eval_count":5,"prompt_eval_cached_count":50,"prompt_eval_duration":1,"eval_count":2`,
			sent:   map[string]string{sentVersion: "0.34.0"},
			counts: stream.Counts{Prompt: known(5), Output: known(2)}, odd: 1,
			server: stream.ServerTiming{Prefill: 1, Definition: "ollama metrics" + definedPrefill}},
		{name: "the runner for safetensors measures otherwise",
			fields: `,"prompt_eval_count":5,"prompt_eval_duration":1000,"eval_count":20,"eval_duration":5000`, sent: map[string]string{sentFormat: "safetensors", sentVersion: "0.33.0"},
			counts: stream.Counts{Prompt: known(5), Output: known(20)}},
		{name: "one token has no interval", fields: `,"prompt_eval_count":5,"eval_count":1,"eval_duration":77`, counts: stream.Counts{Prompt: known(5), Output: known(1)}},
		{name: "zeros are left out", fields: ``},
		{name: "nonsense is not known", fields: `,"prompt_eval_count":-5,"eval_count":"many","eval_duration":1e300,"prompt_eval_duration":{},"prompt_eval_cached_count":null,"load_duration":[1]`},
		{name: "huge counts", fields: `,"prompt_eval_count":99999999999999,"eval_count":1.5`},
		{name: "a prompt that fills the context was cut", fields: `,"prompt_eval_count":512,"eval_count":8`, sent: map[string]string{sentContext: "512"}, counts: stream.Counts{Prompt: known(512), Output: known(8)}, trunc: true},
		{name: "the context ended the output", fields: `,"prompt_eval_count":500,"eval_count":13`, sent: map[string]string{sentContext: "512"}, counts: stream.Counts{Prompt: known(500), Output: known(13)}, trunc: true},
		{name: "and here it did not", fields: `,"prompt_eval_count":500,"eval_count":12`, sent: map[string]string{sentContext: "512"}, counts: stream.Counts{Prompt: known(500), Output: known(12)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := body(text + last(c.fields))
			for k, v := range c.sent {
				rec.Sent[k] = v
			}
			tr, err := Decode(rec)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.counts, tr.Counts); d != "" {
				t.Error("counts", d)
			}
			if d := cmp.Diff(c.server, tr.Server); d != "" {
				t.Error("server", d)
			}
			if tr.Truncated != c.trunc || len(tr.Disagree) != c.odd || tr.Finish != stream.FinishLength {
				t.Errorf("truncated %v, disagree %v, finish %s", tr.Truncated, tr.Disagree, tr.Finish)
			}
		})
	}
}

func TestDecodeEvents(t *testing.T) {
	rec := body(say(`"content":""`) + say(`"content":"","thinking":"hm"`) + say(`"content":"so","thinking":"!"`) +
		say(`"content":"","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}},{"function":{"name":"g","arguments":null}}]`) +
		`{"model":"m","message":{"content":"."},"done":true,"done_reason":"stop","eval_count":9}`)
	tr, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	type event struct {
		Kind stream.Kind
		Text string
		Read int
	}
	var got []event
	for _, e := range tr.Events {
		if e.Tokens != stream.NotStated {
			t.Errorf("%q has %d tokens", e.Text, e.Tokens)
		}
		got = append(got, event{e.Kind, e.Text, e.Read})
	}
	want := []event{{stream.Reasoning, "hm", 1}, {stream.Reasoning, "!", 2}, {stream.Content, "so", 2}, {stream.Tool, `f{"x":1}`, 3}, {stream.Tool, "g", 3}, {stream.Content, ".", 4}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if tr.Finish != stream.FinishStop || tr.Counts.Output != known(9) {
		t.Errorf("%s, %+v", tr.Finish, tr.Counts)
	}
}

func TestDecodeErrors(t *testing.T) {
	good := say(`"content":"a"`)
	same := func(n int, text string) string { return strings.Repeat(say(`"content":`+strconv.Quote(text)), n) }
	for _, c := range []struct {
		name   string
		body   string
		change func(*stream.Recording)
		want   []error
		not    error
		events int
	}{
		{name: "no last line", body: good, want: []error{drivers.ErrTruncated}, not: errRepeats, events: 1},
		{name: "cut inside a line", body: good + `{"model":"m","mess`, change: func(r *stream.Recording) { r.Outcome, r.Fault = stream.Cut, "gone" }, want: []error{drivers.ErrTruncated, drivers.ErrReset}, events: 1},
		{name: "repeat guard", body: same(31, " t"), want: []error{drivers.ErrTruncated, errRepeats}, events: 31},
		{name: "blanks count from the first", body: good + same(30, "\n"), want: []error{errRepeats}, events: 31},
		{name: "as many equal pieces, but not at the end", body: same(31, "t") + good, want: []error{drivers.ErrTruncated}, not: errRepeats, events: 32},
		{name: "equal pieces, and the connection is lost", body: same(31, "t"), change: func(r *stream.Recording) { r.Outcome = stream.Cut }, want: []error{drivers.ErrReset}, not: errRepeats, events: 31},
		{name: "an error inside", body: good + `{"error":"an error was encountered while running the model: unexpected EOF"}`, want: []error{drivers.ErrServer}, events: 1},
		{name: "the runner died", body: good + `{"error":"model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama server logs for details"}`, want: []error{drivers.ErrServerDied, drivers.ErrServer}, events: 1},
		{name: "an error object", body: `{"error":{"message":"CUDA error: out of memory"}}`, want: []error{errMemory, drivers.ErrServer}},
		{name: "a cloud model", body: `{"model":"m","remote_model":"x","remote_host":"https://ollama.com","message":{"content":"a"},"done":false}`, want: []error{drivers.ErrUnsupported}},
		{name: "another model", body: good + last(""), change: func(r *stream.Recording) { r.Sent[sentModel] = "other" }, want: []error{drivers.ErrModelNotFound}, events: 1},
		{name: "loaded inside the stream", body: good + last(`,"load_duration":3200000000`), want: []error{drivers.ErrServer, errReloaded}, events: 1},
		{name: "a page", body: "<html>It works</html>", want: []error{drivers.ErrProtocol}},
		{name: "other types", body: `{"model":7,"message":"x","done":"no"}` + "\n", want: []error{drivers.ErrProtocol}},
		{name: "empty", body: "", want: []error{drivers.ErrTruncated}},
		{name: "a redirect", body: "", change: func(r *stream.Recording) { r.Status = 302 }, want: []error{drivers.ErrProtocol}},
		{name: "too long", body: `{"error":"the input length exceeds the context length"}`, change: func(r *stream.Recording) { r.Status = 400 }, want: []error{drivers.ErrContextLength}},
		{name: "no memory", body: `{"error":"model requires more system memory (9.9 GiB) than is available (1.2 GiB)"}`, change: func(r *stream.Recording) { r.Status = 500 }, want: []error{errMemory}},
		{name: "not there", body: `{"error":"model 'nope' not found"}`, change: func(r *stream.Recording) { r.Status = 404 }, want: []error{drivers.ErrModelNotFound}},
		{name: "busy", body: `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, change: func(r *stream.Recording) { r.Status = 503 }, want: []error{drivers.ErrOverloaded}},
		{name: "timeout", body: good, change: func(r *stream.Recording) { r.Outcome = stream.Deadline }, want: []error{drivers.ErrTimeout}, events: 1},
		{name: "cancelled", body: good, change: func(r *stream.Recording) { r.Outcome = stream.Canceled }, want: []error{context.Canceled}, events: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := body(c.body)
			if c.change != nil {
				c.change(&rec)
			}
			tr, err := Decode(rec)
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if c.not != nil && errors.Is(err, c.not) {
				t.Errorf("got %v, which is no %v", err, c.not)
			}
			if len(tr.Events) != c.events {
				t.Errorf("%d events, want %d", len(tr.Events), c.events)
			}
			if tr.Counts.Output.Known() && len(tr.Events) == 0 {
				t.Errorf("counts %+v", tr.Counts)
			}
		})
	}
}

// TestDecodeRecorded holds what is made of streams that a real server sent to golden files. TestRecord writes the recordings.
func TestDecodeRecorded(t *testing.T) {
	files, err := filepath.Glob(casesDir + "/*.json")
	if err != nil || len(files) < 11 {
		t.Fatalf("%d recordings: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var kept drivertest.Recorded
			if err := json.Unmarshal(b, &kept); err != nil {
				t.Fatal(err)
			}
			tr, err := Decode(kept.Recording)
			said := struct {
				Error string `json:",omitempty"`
				stream.Transcript
			}{Transcript: tr}
			if err != nil {
				said.Error = err.Error()
			}
			got, err := json.MarshalIndent(said, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; run with -update to write it", err)
			}
			if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzDecode: whatever comes, Decode ends, gives the same twice, and counts nothing below zero.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(say(`"content":"a","thinking":"b"`) + lastLine))
	f.Add([]byte(`{"error":"x"}`))
	f.Add([]byte(say(`"tool_calls":[{"function":{"name":"f","arguments":{"a":[1]}}}]`) + last(`,"prompt_eval_count":3,"prompt_eval_cached_count":9,"eval_count":1e15,"eval_duration":-1`)))
	f.Add([]byte(strings.Repeat(say(`"content":"t"`), 31)))
	files, _ := filepath.Glob(casesDir + "/*.json")
	for _, file := range files {
		b, err := os.ReadFile(file)
		var kept drivertest.Recorded
		if err == nil && json.Unmarshal(b, &kept) == nil {
			f.Add(kept.Recording.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rec := body(string(data))
		one, err1 := Decode(rec)
		two, err2 := Decode(rec)
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%s %v %v", d, err1, err2)
		}
		for _, c := range []stream.Count{one.Counts.Prompt, one.Counts.Cached, one.Counts.Output} {
			if c.N < 0 {
				t.Fatalf("counts %+v", one.Counts)
			}
		}
		s := one.Server
		if s.Prefill < 0 || s.Decode < 0 || s.DecodeTokens < 0 || s.PromptTokens.N < 0 || s.PromptTokens.Known() && s.Prefill <= 0 {
			t.Fatalf("server %+v", s)
		}
		if slices.ContainsFunc(one.Events, func(e stream.Event) bool { return e.Text == "" }) {
			t.Fatal("an event without text")
		}
		if len(one.Extra) > 0 && !json.Valid(one.Extra) {
			t.Fatalf("extra %s", one.Extra)
		}
		if !bytes.Equal(rec.Data, data) {
			t.Fatal("decoding changed the recording")
		}
	})
}

func TestRecordedLive(t *testing.T) { drivertest.CheckRecorded(t, Decode) }
