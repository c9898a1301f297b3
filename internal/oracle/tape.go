package oracle

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const (
	ms = time.Millisecond
	us = time.Microsecond
)

// tape puts a case's writes together.
type tape struct {
	writes []Write
	words  int    // tokens of text so far
	cum    int    // tokens so far, silent ones included
	more   string // further fields of each event of text: a printf format of the running count, or empty
}

func (t *tape) add(at time.Duration, data string, marks ...Mark) *tape {
	t.writes = append(t.writes, Write{At: at, Data: data, Marks: marks})
	return t
}

// last is the moment of the last write.
func (t *tape) last() time.Duration { return t.writes[len(t.writes)-1].At }

// text gives the text of the next n tokens. Every token is a word of five or six bytes.
func (t *tape) text(n int) string {
	words := [...]string{" lake", " river", " stone", " light", " paper", " green", " quiet", " north"}
	var b strings.Builder
	for range n {
		b.WriteString(words[t.words%len(words)])
		t.words++
	}
	t.cum += n
	return b.String()
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// event is one event of a body.
func event(json string) string { return "data: " + json + "\n\n" }

const done = "data: [DONE]\n\n"

// choice is an event of /v1/chat/completions with one delta.
func choice(delta, finish, more string) string {
	return event(fmt.Sprintf(`{"id":"c1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{%s},"finish_reason":%s}]%s}`, delta, finish, more))
}

func role() string { return choice(`"role":"assistant","content":""`, "null", "") }

// finish is the event that says why the stream ends.
func finish(why string) string { return choice("", quote(why), "") }

// usage is the event with the server's counts; cached and reasoning are left out below 0.
func usage(prompt, output, cached, reasoning int) string {
	return event(fmt.Sprintf(`{"id":"c1","model":"m","choices":[],"usage":%s}`, counts(prompt, output, cached, reasoning)))
}

func counts(prompt, output, cached, reasoning int) string {
	s := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d`, prompt, output, prompt+output)
	if cached >= 0 {
		s += fmt.Sprintf(`,"prompt_tokens_details":{"cached_tokens":%d}`, cached)
	}
	if reasoning >= 0 {
		s += fmt.Sprintf(`,"completion_tokens_details":{"reasoning_tokens":%d}`, reasoning)
	}
	return s + "}"
}

// field says what a delta's text is called, and gives its kind.
type field struct {
	name   string
	kind   Kind
	format string // of the delta, with one %s for the quoted text
}

func named(name string, kind Kind) field { return field{name, kind, `"` + name + `":%s`} }

var (
	content   = named("content", Answer)
	reasoning = named("reasoning_content", Reasoning)
	arguments = field{"tool_calls", Tool, `"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"","arguments":%s}}]`}
)

// chat gives the bytes and the mark of an event with n tokens.
func (t *tape) chat(f field, n int) (string, Mark) {
	text := t.text(n)
	more := t.more
	if more != "" {
		more = fmt.Sprintf(more, t.cum)
	}
	return choice(fmt.Sprintf(f.format, quote(text)), "null", more), Mark{f.kind, text, float64(n)}
}

// run adds events of n tokens each, one write an event.
func (t *tape) run(first, gap time.Duration, events, n int, f field) *tape {
	for i := range events {
		data, m := t.chat(f, n)
		t.add(first+time.Duration(i)*gap, data, m)
	}
	return t
}

// completion is run for /v1/completions.
func (t *tape) completion(first, gap time.Duration, events, n int) *tape {
	for i := range events {
		text := t.text(n)
		t.add(first+time.Duration(i)*gap, event(fmt.Sprintf(`{"id":"c1","object":"text_completion","choices":[{"index":0,"text":%s,"finish_reason":null}]}`, quote(text))), Mark{Answer, text, float64(n)})
	}
	return t
}

// piece is an event of llama.cpp's /completion; text may be empty.
func (t *tape) piece(text string) string {
	return event(fmt.Sprintf(`{"index":0,"content":%s,"tokens":[],"stop":false,"id_slot":0,"tokens_predicted":%d,"tokens_evaluated":1000}`, quote(text), t.cum))
}

// native is run for /completion.
func (t *tape) native(first, gap time.Duration, events, n int, k Kind) *tape {
	for i := range events {
		text := t.text(n)
		t.add(first+time.Duration(i)*gap, t.piece(text), Mark{k, text, float64(n)})
	}
	return t
}

// silent adds events of /completion whose token has no text.
func (t *tape) silent(first, gap time.Duration, events int) *tape {
	for i := range events {
		t.cum++
		t.add(first+time.Duration(i)*gap, t.piece(""), Mark{Silent, "", 1})
	}
	return t
}

// final is the last event of /completion.
func (t *tape) final(at time.Duration, stop string, prompt, cached, worked int, promptMS float64, predictedMS float64) *tape {
	return t.add(at, event(fmt.Sprintf(`{"index":0,"content":"","stop":true,"stop_type":%q,"truncated":false,"tokens_predicted":%d,"tokens_evaluated":%d,"timings":{"cache_n":%d,"prompt_n":%d,"prompt_ms":%g,"predicted_n":%d,"predicted_ms":%g}}`,
		stop, t.cum, prompt, cached, worked, promptMS, t.cum, predictedMS)))
}

// end adds the finish reason, the counts and the end mark in one write, a millisecond after the last.
func (t *tape) end(prompt, output, cached, reasoning int) *tape {
	return t.add(t.last()+ms, finish("length")+usage(prompt, output, cached, reasoning)+done)
}

// rewrite changes the bytes of every write.
func (t *tape) rewrite(f func(string) string) *tape {
	for i := range t.writes {
		t.writes[i].Data = f(t.writes[i].Data)
	}
	return t
}

// split cuts every write that has text in two, at the byte that at gives; the first part comes lead earlier.
func (t *tape) split(lead time.Duration, at func(string) int) *tape {
	var out []Write
	for _, w := range t.writes {
		if len(w.Marks) > 0 {
			n := at(w.Data)
			out = append(out, Write{At: w.At - lead, Data: w.Data[:n]})
			w.Data = w.Data[n:]
		}
		out = append(out, w)
	}
	t.writes = out
	return t
}
