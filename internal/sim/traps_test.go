package sim_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/internal/sim"
)

// delta is an event of a chat stream as a lenient client reads it.
type delta struct {
	Model   string `json:"model"`
	Choices []struct {
		Delta struct {
			Role             string  `json:"role"`
			Content          *string `json:"content"`
			ReasoningContent string  `json:"reasoning_content"`
			Reasoning        string  `json:"reasoning"`
			Thinking         string  `json:"thinking"`
			ReasoningText    string  `json:"reasoning_text"`
			ToolCalls        []struct {
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		} `json:"delta"`
		Finish   string  `json:"finish_reason"`
		TokenIDs []int32 `json:"token_ids"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Details    *struct {
			Cached *int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		Out struct {
			Reasoning int `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	} `json:"usage"`
	Timings *struct {
		CacheN     *int    `json:"cache_n"`
		PromptN    int     `json:"prompt_n"`
		PredictedN int     `json:"predicted_n"`
		PromptMS   float64 `json:"prompt_ms"`
	} `json:"timings"`
	Error *struct{ Message string } `json:"error"`
}

// events reads the data lines of a body.
func events(body string) (list []delta, done bool) {
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data:")
		if !ok {
			continue
		}
		data = strings.TrimSpace(data)
		if data == "[DONE]" {
			done = true
			continue
		}
		var d delta
		if json.Unmarshal([]byte(data), &d) == nil {
			list = append(list, d)
		}
	}
	return list, done
}

// text joins what a stream says, and counts its events with text and its token ids.
func text(list []delta) (say string, bearing, ids int) {
	for _, d := range list {
		for _, c := range d.Choices {
			t := c.Delta.ReasoningContent + c.Delta.Reasoning + c.Delta.Thinking + c.Delta.ReasoningText
			if c.Delta.Content != nil {
				t += *c.Delta.Content
			}
			for _, f := range c.Delta.ToolCalls {
				t += f.Function.Name + f.Function.Arguments
			}
			say += t
			if t != "" {
				bearing++
			}
			ids += len(c.TokenIDs)
		}
	}
	return say, bearing, ids
}

func usageOf(list []delta) *delta {
	for i := range list {
		if list[i].Usage != nil {
			return &list[i]
		}
	}
	return nil
}

func TestTraps(t *testing.T) {
	const n = 24
	type seen struct {
		got
		sim.Served
		s       *sim.Server
		list    []delta
		done    bool
		say     string
		bearing int
		ids     int
	}
	for _, tt := range []struct {
		traps string
		ask   map[string]any
		check func(t *testing.T, v seen)
	}{
		{traps: "", check: func(t *testing.T, v seen) {
			u := usageOf(v.list)
			if v.bearing != n || v.ids != n || !v.done || u == nil || u.Usage.Prompt != v.PromptTokens || u.Usage.Completion != n ||
				u.Usage.Details == nil || *u.Usage.Details.Cached != 0 || u.Timings == nil || u.Timings.PredictedN != n {
				t.Errorf("plain stream: %d with text, %d ids, done %v, usage %+v", v.bearing, v.ids, v.done, u)
			}
			if !strings.Contains(v.head, "Server: llm-speed-sim") {
				t.Errorf("head %q", v.head)
			}
			ids := sim.Tokenize(v.say)
			if len(ids) != n {
				t.Errorf("what was said is %d tokens", len(ids))
			}
			at := 0
			for _, d := range v.list {
				for _, c := range d.Choices {
					for _, id := range c.TokenIDs {
						if id != ids[at] {
							t.Fatalf("token %d has id %d in the stream and %d by the tokenizer", at, id, ids[at])
						}
						at++
					}
				}
			}
		}},
		{traps: "tokens-per-event=4", check: func(t *testing.T, v seen) {
			if v.bearing != 7 || v.ids != n { // 1 + 5 x 4 + 3
				t.Errorf("%d events, %d ids", v.bearing, v.ids)
			}
			for i, e := range bearing(v.Served) {
				if want := []int{1, 4, 4, 4, 4, 4, 3}[i]; e.Tokens != want {
					t.Errorf("event %d has %d tokens in the log, want %d", i, e.Tokens, want)
				}
			}
		}},
		{traps: "tokens-per-event=4,first-event-tokens=4", check: func(t *testing.T, v seen) {
			if v.bearing != 6 || bearing(v.Served)[0].Tokens != 4 {
				t.Errorf("%d events", v.bearing)
			}
		}},
		{traps: "coalesce=6", check: func(t *testing.T, v seen) {
			if v.bearing != n {
				t.Errorf("%d events", v.bearing)
			}
			writes := map[time.Duration]int{}
			for _, e := range bearing(v.Served) {
				writes[e.End]++
			}
			if len(writes) != 5 { // 1 + 3 x 6 + 5
				t.Errorf("%d writes", len(writes))
			}
		}},
		{traps: "role-first=5", check: func(t *testing.T, v seen) {
			role, first := v.Events[0], bearing(v.Served)[0]
			if role.Kind != "role" || role.Due != 5*time.Millisecond || first.Due < 10*time.Millisecond || v.list[0].Choices[0].Delta.Role != "assistant" || !strings.Contains(v.parts[0], "assistant") {
				t.Errorf("role event %+v, first %+v, first read %q", role, first, v.parts[0])
			}
			if strings.Contains(v.parts[0], `"content":"`) {
				t.Error("the first token came with the role")
			}
		}, ask: map[string]any{"words": 2500}},
		{traps: "reasoning=6", check: func(t *testing.T, v seen) { reasoned(t, v.list, "reasoning_content", v.Served.Reasoning) }},
		{traps: "reasoning=6,reasoning-field=reasoning", check: func(t *testing.T, v seen) { reasoned(t, v.list, "reasoning", v.Served.Reasoning) }},
		{traps: "reasoning=6,reasoning-field=thinking", check: func(t *testing.T, v seen) { reasoned(t, v.list, "thinking", v.Served.Reasoning) }},
		{traps: "reasoning=6,reasoning-field=reasoning_text", check: func(t *testing.T, v seen) { reasoned(t, v.list, "reasoning_text", v.Served.Reasoning) }},
		{traps: "reasoning-hidden=10", check: func(t *testing.T, v seen) {
			u := usageOf(v.list)
			if v.bearing != n-10 || v.Hidden != 10 || v.Reasoning != 10 || u.Usage.Completion != n || u.Usage.Out.Reasoning != 10 || v.ids != n-10 {
				t.Errorf("%d events, hidden %d, usage %+v", v.bearing, v.Hidden, u)
			}
			if first := bearing(v.Served)[0]; first.Due <= v.FirstToken {
				t.Error("hidden tokens take no time")
			}
		}},
		{traps: "no-usage", check: func(t *testing.T, v seen) {
			if usageOf(v.list) != nil {
				t.Error("usage was sent")
			}
		}},
		{traps: "refuse-usage", check: func(t *testing.T, v seen) {
			if v.Status != 400 || !strings.Contains(v.head, "400") || !strings.Contains(string(v.raw), "stream_options") {
				t.Errorf("%s %s", v.head, v.raw)
			}
		}},
		{traps: "no-timings", check: func(t *testing.T, v seen) {
			if strings.Contains(v.body(), "timings") {
				t.Error("timings were sent")
			}
		}},
		{traps: "no-token-ids", check: func(t *testing.T, v seen) {
			if v.ids != 0 {
				t.Error("ids were sent")
			}
		}},
		{traps: "wrong-prompt-count=100", check: func(t *testing.T, v seen) {
			if u := usageOf(v.list); u.Usage.Prompt != v.PromptTokens+100 {
				t.Errorf("states %d of %d", u.Usage.Prompt, v.PromptTokens)
			}
		}},
		{traps: "split-utf8", check: func(t *testing.T, v seen) {
			cut, silent := false, 0
			for _, p := range chunks(v.raw) {
				cut = cut || !utf8.ValidString(p)
			}
			for _, e := range v.Events {
				if e.Kind == "silent" {
					silent++
				}
			}
			if !cut || silent != 5 || v.Silent != 5 || !utf8.ValidString(v.say) || !strings.Contains(v.say, "語") || v.ids != n {
				t.Errorf("cut %v, %d silent, says %q", cut, silent, v.say)
			}
		}},
		{traps: "silent-first=3", check: func(t *testing.T, v seen) {
			if v.bearing != n-3 || v.Events[1].Kind != "silent" || v.Silent != 3 || bearing(v.Served)[0].Due <= v.FirstToken {
				t.Errorf("%d events, %+v", v.bearing, v.Events[:3])
			}
		}},
		{traps: "silent-tokens=3", check: func(t *testing.T, v seen) {
			if b := bearing(v.Served); len(b) != n-3 || b[len(b)-1].Due >= v.LastToken || usageOf(v.list).Usage.Completion != n {
				t.Errorf("%d events", len(b))
			}
		}},
		{traps: "silent-every=4,silent-hidden", check: func(t *testing.T, v seen) {
			if v.bearing != 18 || v.Hidden != 6 || v.ids != 18 || strings.Contains(v.body(), `"content":""`) {
				t.Errorf("%d events, %d hidden", v.bearing, v.Hidden)
			}
		}},
		{traps: "zero-tokens", check: func(t *testing.T, v seen) {
			if v.say != "" || v.Silent != n || usageOf(v.list).Usage.Completion != n {
				t.Errorf("says %q", v.say)
			}
		}},
		{traps: "zero-tokens,silent-hidden", check: func(t *testing.T, v seen) {
			if v.bearing != 0 || v.ids != 0 || v.Hidden != n || !v.done || usageOf(v.list).Usage.Completion != n {
				t.Errorf("%d events, %d ids, done %v", v.bearing, v.ids, v.done)
			}
		}},
		{traps: "early-stop=5", check: func(t *testing.T, v seen) {
			if v.bearing != 5 || v.Finish != "stop" || v.OutputTokens != 5 || v.Asked != n || v.Ended != "early stop" {
				t.Errorf("%+v", v.Served)
			}
		}},
		{traps: "early-stop=1", check: func(t *testing.T, v seen) {
			if v.bearing != 1 || v.OutputTokens != 1 {
				t.Errorf("%+v", v.Served)
			}
		}},
		{traps: "early-stop=0", check: func(t *testing.T, v seen) {
			if v.bearing != 0 || v.OutputTokens != 0 || !v.done || usageOf(v.list).Usage.Completion != 0 {
				t.Errorf("%+v", v.Served)
			}
		}},
		{traps: "tool-hold=4", check: func(t *testing.T, v seen) {
			b := bearing(v.Served)
			if len(b) != 5 || b[4].Kind != "tool" || b[4].Tokens != n-4 || b[4].Due != v.LastToken || v.Finish != "tool_calls" || !strings.HasSuffix(v.say, b[4].Text) || !strings.HasPrefix(b[4].Text, `write_file{"path"`) {
				t.Errorf("%+v", b)
			}
		}},
		{traps: "error-in-stream=5", check: func(t *testing.T, v seen) {
			if v.bearing != 5 || v.list[len(v.list)-1].Error == nil || v.done || v.Ended != "error" || v.err != nil {
				t.Errorf("%d events, %+v", v.bearing, v.list[len(v.list)-1])
			}
		}},
		{traps: "error-in-stream=0", check: func(t *testing.T, v seen) {
			if v.bearing != 0 || v.list[len(v.list)-1].Error == nil {
				t.Errorf("%d events", v.bearing)
			}
		}},
		{traps: "no-done", check: func(t *testing.T, v seen) {
			if v.done || v.bearing != n || v.err != nil {
				t.Errorf("done %v, %d events, %v", v.done, v.bearing, v.err)
			}
		}},
		{traps: "reset=5", check: func(t *testing.T, v seen) {
			if v.bearing != 5 || v.err == nil || !strings.Contains(v.err.Error(), "reset") || v.Ended != "reset" {
				t.Errorf("%d events, then %v", v.bearing, v.err)
			}
		}},
		{traps: "truncate=5", check: func(t *testing.T, v seen) {
			if v.bearing != 5 || v.err != io.EOF || v.Ended != "truncated" || strings.HasSuffix(string(v.raw), "\r\n") {
				t.Errorf("%d events, then %v", v.bearing, v.err)
			}
		}},
		{traps: "garbage", check: func(t *testing.T, v seen) {
			if v.bearing != n || !strings.Contains(v.body(), "\ndata: {\"choices\":[{\"delta\":{\"cont\n") || v.Events[4].Kind != "garbage" {
				t.Errorf("%d events: %+v", v.bearing, v.Events[4])
			}
		}},
		{traps: "crlf", check: func(t *testing.T, v seen) {
			b := v.body()
			if strings.Count(b, "\r\n\r\n") != n+4 || strings.Count(b, "\n") != strings.Count(b, "\r\n") {
				t.Errorf("%q", b[:200])
			}
		}},
		{traps: "no-space", check: func(t *testing.T, v seen) {
			if strings.Contains(v.body(), "data: ") || v.bearing != n {
				t.Error("space after data:")
			}
		}},
		{traps: "trailing-space", check: func(t *testing.T, v seen) {
			if strings.Count(v.body(), " \n\n") != n+4 {
				t.Error("lines without trailing space")
			}
		}},
		{traps: "comments", check: func(t *testing.T, v seen) {
			if !strings.HasPrefix(v.body(), ": processing\n\n") || strings.Count(v.body(), ": keep-alive\n\n") != 6 || v.bearing != n || v.Events[0].Due != 0 {
				t.Errorf("%q", v.body())
			}
		}},
		{traps: "split-json", check: func(t *testing.T, v seen) {
			if c := chunks(v.raw); v.bearing != n || len(c) != 3*n+4 { // role, finish, usage and [DONE] are whole
				t.Errorf("%d events in %d chunks", v.bearing, len(c))
			}
		}},
		{traps: "long-line", check: func(t *testing.T, v seen) {
			if len(v.raw) < 8<<20 || v.bearing != n {
				t.Errorf("%d bytes, %d events", len(v.raw), v.bearing)
			}
		}},
		{traps: "hang=5", check: nil}, // TestHang
		{traps: "stall=60@10", check: func(t *testing.T, v seen) {
			b := bearing(v.Served)
			if gap := b[9].Due - b[8].Due; gap < 60*time.Millisecond || gap > 62*time.Millisecond {
				t.Errorf("gap %v", gap)
			}
			if v.at[len(v.at)-1] < 60*time.Millisecond {
				t.Error("the stall was not on the wire")
			}
		}},
		{traps: "jitter=3", check: func(t *testing.T, v seen) {
			b := bearing(v.Served)
			for i := 1; i < len(b); i++ {
				if b[i].Due < b[i-1].Due || b[i].End < b[i-1].End {
					t.Errorf("event %d before %d", i, i-1)
				}
			}
			if b[len(b)-1].Due == v.LastToken && b[0].Due == v.FirstToken && b[5].Due-v.FirstToken == 0 {
				t.Error("no jitter")
			}
		}},
		{traps: "buffer=40", ask: map[string]any{"max": 400}, check: func(t *testing.T, v seen) {
			writes := map[time.Duration]bool{}
			for _, e := range bearing(v.Served) {
				writes[e.End] = true
				if past := (e.Due - v.FirstToken) % (40 * time.Millisecond); past != 0 {
					t.Fatalf("event due %v after a burst", past)
				}
			}
			if len(writes) != 4 || v.bearing != 400 { // 400 tokens take about 107 ms
				t.Errorf("%d bursts, %d events", len(writes), v.bearing)
			}
		}},
		{traps: "gzip", check: func(t *testing.T, v seen) {
			if !strings.Contains(v.head, "Content-Encoding: gzip") {
				t.Error("no header")
			}
			z, err := gzip.NewReader(strings.NewReader(v.body()))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if list, done := events(string(b)); err != nil || !done || len(list) != n+3 {
				t.Errorf("%d events, %v", len(list), err)
			}
		}},
		{traps: "status=429,retry-after=7", check: func(t *testing.T, v seen) {
			if !strings.Contains(v.head, "HTTP/1.1 429") || !strings.Contains(v.head, "Retry-After: 7") || v.Status != 429 {
				t.Error(v.head)
			}
		}},
		{traps: "model-change=0", check: func(t *testing.T, v seen) {
			if m := v.list[0].Model; m != "sim-fast-other" || v.Model != m {
				t.Errorf("model %q", m)
			}
		}},
		{traps: "warmup-drift=3@1", check: func(t *testing.T, v seen) {
			want := 3 * v.s.Profile().TTFT(v.PromptTokens, 0)
			if !near(v.FirstToken, want, 5) {
				t.Errorf("first token after %v, want %v", v.FirstToken, want)
			}
		}},
		{traps: "no-cached-field", check: func(t *testing.T, v seen) {
			if u := usageOf(v.list); u.Usage.Details != nil || u.Timings.CacheN != nil {
				t.Error("cached tokens are stated")
			}
		}},
	} {
		if tt.check == nil {
			continue
		}
		t.Run(tt.traps, func(t *testing.T) {
			t.Parallel()
			profile := "fast"
			if strings.HasPrefix(tt.traps, "split") {
				profile = "rtx4090-8b-q4" // with time between the parts
			}
			s := start(t, profile, tt.traps)
			a := ask{words: 20, max: n, stream: true, more: map[string]any{}}
			for k, x := range tt.ask {
				switch k {
				case "words":
					a.words = x.(int)
				case "max":
					a.max = x.(int)
				}
			}
			v := seen{got: post(t, s, "/v1/chat/completions", a.body(t)), s: s}
			v.Served = last(t, s)
			v.list, v.done = events(v.body())
			v.say, v.bearing, v.ids = text(v.list)
			if v.Served.Traps != tt.traps {
				t.Errorf("log says traps %q", v.Served.Traps)
			}
			if tt.traps != "gzip" && v.Status == 200 {
				logged := ""
				for _, e := range v.Events {
					logged += e.Text
				}
				if logged != v.say {
					t.Errorf("the log has %q, the client read %q", logged, v.say)
				}
			}
			tt.check(t, v)
		})
	}
}

// chunks splits a body at its transfer encoding.
func chunks(raw []byte) (list []string) {
	for len(raw) > 0 {
		head, rest, _ := bytes.Cut(raw, []byte("\r\n"))
		n, err := strconv.ParseUint(string(head), 16, 32)
		if err != nil || n == 0 || int(n) > len(rest)-2 {
			return list
		}
		list = append(list, string(rest[:n]))
		raw = rest[n+2:]
	}
	return list
}

func bearing(s sim.Served) []sim.Sent {
	return slices.DeleteFunc(slices.Clone(s.Events), func(e sim.Sent) bool { return !e.TextBearing() })
}

func reasoned(t *testing.T, list []delta, field string, logged int) {
	t.Helper()
	count := 0
	for _, d := range list {
		for _, c := range d.Choices {
			f := map[string]string{"reasoning_content": c.Delta.ReasoningContent, "reasoning": c.Delta.Reasoning, "thinking": c.Delta.Thinking, "reasoning_text": c.Delta.ReasoningText}
			if f[field] != "" {
				count++
			}
		}
	}
	if count != 6 || logged != 6 || usageOf(list).Usage.Out.Reasoning != 6 {
		t.Errorf("%d events with %s, log %d, usage %+v", count, field, logged, usageOf(list).Usage)
	}
}

func TestHang(t *testing.T) {
	for _, n := range []int{0, 5} {
		s := start(t, "fast", fmt.Sprintf("hang=%d", n))
		c := http.Client{Timeout: 300 * time.Millisecond}
		resp, err := c.Post(s.URL()+"/v1/chat/completions", "application/json", strings.NewReader(string(ask{words: 20, max: 24, stream: true}.body(t))))
		var b []byte
		if err == nil {
			b, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil || (n == 0) != (resp == nil) {
			t.Errorf("hang=%d: %v, response %v", n, err, resp != nil)
		}
		list, done := events(string(b))
		if _, k, _ := text(list); k != n || done {
			t.Errorf("hang=%d: %d tokens, done %v", n, k, done)
		}
		if l := last(t, s); l.Ended != "hung" || len(bearing(l)) != n || l.OutputTokens != n {
			t.Errorf("hang=%d: log %+v", n, l)
		}
		if a := s.Activity(); a.Running != 0 {
			t.Errorf("hang=%d: %+v after the client has gone", n, a)
		}
	}
}

func TestCloseKeepalive(t *testing.T) {
	for _, tt := range []struct {
		traps  string
		closed bool
	}{{"", false}, {"close-keepalive=20", true}} {
		s := start(t, "fast", tt.traps)
		c := dial(t, s)
		c.send(t, ask{words: 5, max: 4, stream: true}.body(t))
		c.readAnswer(t)
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		if closed := err == io.EOF; closed != tt.closed {
			t.Errorf("%q: after the answer %v", tt.traps, err)
		}
		if tt.closed {
			continue
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		c.send(t, ask{words: 5, max: 4, stream: true}.body(t))
		c.readAnswer(t)
		if n := len(s.Log()); n != 2 {
			t.Errorf("%d requests on one connection", n)
		}
	}
}

func TestParseTraps(t *testing.T) {
	for _, tt := range []struct{ in, err string }{
		{"", ""}, {" crlf , no-done", ""}, {"hang=0", ""}, {"long-line", ""}, {"long-line=100", ""}, {"stall=50@3,stall=20@9", ""}, {"warmup-drift=2.5@4", ""},
		{"nope", `unknown trap "nope"; known: tokens-per-event, `}, {"crlf=1", "takes no value"}, {"hang", "needs a value: hang=N"},
		{"hang=-1", "not a whole number"}, {"stall=5", "stall"}, {"status=418", "none of"}, {"buffer=x", "not a number"},
		{"reasoning-field=thoughts", "none of"}, {"retry-after=3", "needs status"}, {"warmup-drift=NaN", "not a number"},
	} {
		tr, err := sim.ParseTraps(tt.in)
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("%q: %v", tt.in, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: error %v, want %q in it", tt.in, err, tt.err)
		case tt.err == "":
			again, err := sim.ParseTraps(tr.String())
			if err != nil || again.String() != tr.String() {
				t.Errorf("%q is written %q, which reads as %q, %v", tt.in, tr, again, err)
			}
		}
	}
	for _, d := range sim.TrapDocs() {
		if d.Help == "" || d.Form == "" {
			t.Errorf("%+v", d)
		}
	}
}

func FuzzParseTraps(f *testing.F) {
	for _, s := range []string{"", "crlf,no-done", "stall=50@3", "warmup-drift=2@1", "hang=0,,", "status=429,retry-after=1", "jitter=1e3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tr, err := sim.ParseTraps(s)
		if err != nil {
			return
		}
		if again, err := sim.ParseTraps(tr.String()); err != nil || again.String() != tr.String() {
			t.Errorf("%q -> %q -> %q, %v", s, tr, again, err)
		}
	})
}
