package pyhelper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recording puts each line into a read of its own, ten milliseconds apart.
func recording(sent map[string]string, lines ...string) stream.Recording {
	rec := stream.Recording{Protocol: RecordingProtocol, Send: time.Millisecond, Outcome: stream.Complete, Sent: sent}
	for i, l := range lines {
		rec.Data = append(append(rec.Data, l...), '\n')
		rec.Reads = append(rec.Reads, stream.Read{End: len(rec.Data), At: time.Duration(i+1) * 10 * time.Millisecond})
	}
	return rec
}

func good() []string {
	return []string{
		`{"id":7,"go":1000000,"start":3000000,"prompt":100,"cached":60}`,
		`{"id":7,"t":23000000,"k":1}`,
		`{"id":7,"t":33000000,"k":1}`,
		`{"id":7,"t":43000000,"k":3}`,
		`{"id":7,"t":53000000,"k":1}`,
		`{"id":7,"end":{"finish":"length","output":6,"texts":["Hé","","llo",""],"extra":{"a":1}}}`,
	}
}

func used(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

func TestDecode(t *testing.T) {
	// The helper's clock is 4 ms behind the run's, and each line was read 1 ms after it was stamped, but for the third.
	rec := recording(map[string]string{sentOffset: "-4000000", sentBound: "20000", sentDefinition: "as told", sentRendering: "template", sentThinking: "none"}, good()...)
	tr, err := Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) time.Duration { return rec.Reads[i].At }
	want := stream.Transcript{
		Events: []stream.Event{
			{At: at(1), Read: 1, Kind: stream.Content, Text: "Hé", Tokens: 1}, {At: at(2), Read: 2, Kind: stream.Silent, Tokens: 1},
			{At: at(3), Read: 3, Kind: stream.Content, Text: "llo", Tokens: 3}, {At: at(4), Read: 4, Kind: stream.Silent, Tokens: 1},
		},
		Counts: stream.Counts{Prompt: used(100), Cached: used(60), Output: used(6), Reasoning: used(0)},
		Server: stream.ServerTiming{PromptTokens: used(40), Prefill: 20 * time.Millisecond, DecodeTokens: 5, Decode: 30 * time.Millisecond, Queue: 2 * time.Millisecond, Definition: "as told"},
		Finish: stream.FinishLength,
		Extra:  json.RawMessage(`{"helper":{"a":1},"pipe":{"bound_us":20,"lag_max_us":1000,"lag_p50_us":1000},"rendering":"template"}`),
	}
	if diff := cmp.Diff(want, tr); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeQueueOfTheLibrary(t *testing.T) {
	lines := good()
	lines[5] = strings.Replace(lines[5], `"output"`, `"queue_ns":5000000,"cached":0,"output"`, 1)
	tr, err := Decode(recording(nil, lines...))
	s := tr.Server
	if err != nil || s.Queue != 7*time.Millisecond || s.Prefill != 15*time.Millisecond || s.PromptTokens != used(100) {
		t.Errorf("%v, %+v", err, s)
	}
	if tr.Counts.Reasoning.Known() {
		t.Errorf("nothing is known of thinking: %+v", tr.Counts.Reasoning)
	}
}

func TestDecodeDisagreements(t *testing.T) {
	for name, c := range map[string]struct {
		change  func([]string)
		says    string
		timings bool
	}{
		"another count":    {func(l []string) { l[5] = strings.Replace(l[5], `"output":6`, `"output":9`, 1) }, "counts 9 output tokens, its lines hold 6", true},
		"a text too few":   {func(l []string) { l[5] = strings.Replace(l[5], `"llo",`, ``, 1) }, "3 texts for 4 lines", true},
		"stamps go back":   {func(l []string) { l[2] = strings.Replace(l[2], "33", "13", 1) }, "go back", false},
		"cached too many":  {func(l []string) { l[0] = strings.Replace(l[0], "60", "600", 1) }, "600 cached tokens of a prompt of 100", true},
		"all at one stamp": {func(l []string) { l[2], l[3], l[4] = l[1], l[1], l[1] }, "counts 6 output tokens, its lines hold 4", false},
	} {
		lines := good()
		c.change(lines)
		tr, err := Decode(recording(nil, lines...))
		if err != nil || len(tr.Disagree) != 1 || !strings.Contains(tr.Disagree[0], c.says) {
			t.Errorf("%s: %v, %v", name, err, tr.Disagree)
		}
		if (tr.Server.Decode > 0) != c.timings {
			t.Errorf("%s: %+v", name, tr.Server)
		}
	}
}

func TestDecodeEnds(t *testing.T) {
	lines := good()[:4]
	for name, c := range map[string]struct {
		change func(*stream.Recording)
		want   []error
	}{
		"no end":        {func(*stream.Recording) {}, []error{drivers.ErrTruncated}},
		"deadline":      {func(r *stream.Recording) { r.Outcome = stream.Deadline }, []error{drivers.ErrTimeout}},
		"canceled":      {func(r *stream.Recording) { r.Outcome = stream.Canceled }, []error{context.Canceled}},
		"the end of it": {func(r *stream.Recording) { r.Outcome, r.Fault = stream.Cut, drivers.ErrServerDied.Error() }, []error{drivers.ErrServerDied, drivers.ErrTruncated}},
		"rubbish":       {func(r *stream.Recording) { r.Outcome, r.Fault = stream.Cut, errRubbish.Error() }, []error{drivers.ErrProtocol, drivers.ErrTruncated}},
		"cut":           {func(r *stream.Recording) { r.Outcome = stream.Cut }, []error{drivers.ErrReset, drivers.ErrTruncated}},
		"inside a line": {func(r *stream.Recording) { r.Data = r.Data[:len(r.Data)-5] }, []error{drivers.ErrTruncated}},
		"an error": {func(r *stream.Recording) {
			r.Data = append(r.Data, `{"id":7,"error":{"kind":"memory","message":"no"}}`+"\n"...)
		}, []error{drivers.ErrServer, errMemory}},
		"rubbish in it": {func(r *stream.Recording) { r.Data = append(r.Data, "rubbish\n"...) }, []error{drivers.ErrProtocol}},
		"no id":         {func(r *stream.Recording) { r.Data = append(r.Data, "{}\n"...) }, []error{drivers.ErrProtocol}},
	} {
		rec := recording(nil, lines...)
		c.change(&rec)
		tr, err := Decode(rec)
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if len(tr.Events) < 2 || tr.Server.Decode != 0 {
			t.Errorf("%s: %d events, server %+v", name, len(tr.Events), tr.Server)
		}
	}
}

func TestThought(t *testing.T) {
	marks := map[string]string{sentThinkStart: "<think>", sentThinkEnd: "</think>"}
	for _, c := range []struct {
		text, state string
		until       int
		seen        bool
	}{
		{"a</think>b", "open", 9, true}, {"never ends", "open", 10, true}, {"", "open", 0, true},
		{"\n<think>a</think>b", "maybe", 17, true}, {"<think>a", "maybe", 8, true},
		{"the mark <think> inside", "maybe", 0, false}, {"plain", "maybe", 0, false}, {"<think>a</think>", "none", 0, false}, {"x", "", 0, false},
	} {
		sent := map[string]string{sentThinking: c.state}
		for k, v := range marks {
			sent[k] = v
		}
		if until, seen := thought(c.text, sent); until != c.until || seen != c.seen {
			t.Errorf("%q, %s: %d %v, want %d %v", c.text, c.state, until, seen, c.until, c.seen)
		}
	}
	if _, seen := thought("x", nil); seen {
		t.Error("no marks are known, and thinking was seen")
	}
}

func TestTokenLine(t *testing.T) {
	for line, want := range map[string]int64{
		`{"id":7,"t":1,"k":1}`: 7, `{"id":123456789,"t":1,"k":1}`: 123456789, `{"id":7,"end":{}}`: 0, `{"id":,"t":1}`: 0, `{"id":x,"t":1}`: 0, `{"id":-7,"t":1}`: 0,
		`{"id":99999999999999999999,"t":1}`: 0, `{"id":7`: 0, ``: 0, `{"t":1,"id":7}`: 0,
	} {
		id, ok := tokenLine([]byte(line))
		if ok != (want > 0) || ok && id != want {
			t.Errorf("%s: %d %v", line, id, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, l := range append(good(), `{"llm_speed_helper":1,"backend":"toy"}`, `{"id":7,"error":{"kind":"x","message":"y"}}`, `{"id":1e99}`, `{"id":7,"t":"x"}`, `[]`, `null`, "{") {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parse(line)
		if err != nil && !errors.Is(err, drivers.ErrProtocol) {
			t.Errorf("an error of no kind: %v", err)
		}
		if err == nil && (m.ID <= 0 || m.Tokens < 0 || m.Prompt != nil && *m.Prompt < 0) {
			t.Errorf("%s gives %+v", line, m)
		}
		if id, ok := tokenLine(line); ok && err == nil && id != m.ID {
			t.Errorf("%s is of stream %d and %d", line, id, m.ID)
		}
		_, _ = parseHello(line, "toy")
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(strings.Join(good(), "\n")), int64(-4000000), "open")
	f.Add([]byte(fmt.Sprintf("%s\n{\"id\":7,\"t\":-9223372036854775808,\"k\":4194304}\n{\"id\":7,\"t\":9223372036854775807,\"k\":4194304}\n%s\n", good()[0], good()[5])), int64(1<<62), "none")
	f.Add([]byte("{\"id\":1,\"end\":{\"texts\":null,\"extra\":7}}\n\n\r\n{"), int64(0), "maybe")
	f.Fuzz(func(t *testing.T, data []byte, offset int64, thinking string) {
		rec := stream.Recording{Data: data, Outcome: stream.Complete, Reads: []stream.Read{{End: len(data) / 2, At: 1}, {End: len(data), At: 2}},
			Sent: map[string]string{sentOffset: fmt.Sprint(offset), sentBound: "1", sentThinking: thinking, sentThinkStart: "<", sentThinkEnd: ">"}}
		one, err := Decode(rec)
		if err == nil && one.Finish == "" && len(data) == 0 {
			t.Error("nothing decodes well")
		}
		for _, e := range one.Events {
			if e.Tokens < 0 {
				t.Errorf("an event of %d tokens", e.Tokens)
			}
		}
		s := one.Server
		if s.Prefill < 0 || s.Decode < 0 || s.Queue < 0 || s.DecodeTokens < 0 {
			t.Errorf("server: %+v", s)
		}
		if len(one.Extra) > 0 && !json.Valid(one.Extra) {
			t.Errorf("extra: %s", one.Extra)
		}
		two, err2 := Decode(rec)
		if fmt.Sprint(err) != fmt.Sprint(err2) || cmp.Diff(one, two) != "" {
			t.Error("a second decode differs")
		}
	})
}
