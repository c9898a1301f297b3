package sim

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

const serverName = "llm-speed-sim"

// wire writes one completion's JSON.
type wire struct {
	chat    bool
	traps   Traps
	ids     bool // token ids in each event
	running bool // usage so far in each event
	prompt  int  // prompt tokens as stated
	open    string
	eol     string
	usage   bool
}

func newWire(c *completion) wire {
	w := wire{
		chat: c.chat, traps: c.traps, ids: c.req.ReturnTokenIDs && !c.traps.noIDs, running: c.running(),
		prompt: len(c.prompt) + c.traps.wrongPromptCount, eol: "\n", usage: c.usage(),
	}
	if c.traps.crlf {
		w.eol = "\r\n"
	}
	id, object := "chatcmpl-sim-", "chat.completion"
	if !c.chat {
		id, object = "cmpl-sim-", "text_completion"
	}
	if c.chat && c.req.Stream {
		object += ".chunk"
	}
	w.open = `{"id":"` + id + strconv.FormatInt(c.served.ID, 10) + `","object":"` + object + `","created":` + strconv.FormatInt(c.created, 10) + `,"model":"` + c.served.Model + `",`
	return w
}

// frame appends a server-sent event.
func (w *wire) frame(out, data []byte) []byte {
	out = append(out, "data:"...)
	if !w.traps.noSpace {
		out = append(out, ' ')
	}
	out = append(out, data...)
	if w.traps.trailingSpace {
		out = append(out, ' ')
	}
	out = append(out, w.eol...)
	return append(out, w.eol...)
}

// role is the event that opens a chat stream; nil for a plain completion, which has none.
func (w *wire) role() []byte {
	if !w.chat {
		return nil
	}
	return []byte(w.open + `"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}`)
}

// event appends the JSON of a group of tokens; pad bytes of filling go into a field that nobody reads.
func (w *wire) event(b []byte, e event, pad int) []byte {
	b = append(b, w.open...)
	if pad > 0 {
		b = append(b, `"padding":"`...)
		for range pad {
			b = append(b, 'x')
		}
		b = append(b, `",`...)
	}
	b = append(b, `"choices":[{"index":0,`...)
	if w.chat {
		b = append(b, `"delta":`...)
		b = w.delta(b, e)
	} else {
		b = append(b, `"text":`...)
		b = appendString(b, e.text)
	}
	b = append(b, `,"finish_reason":null`...)
	if w.ids {
		b = append(b, `,"token_ids":[`...)
		for i, id := range e.ids {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(id), 10)
		}
		b = append(b, ']')
	}
	b = append(b, "}]"...)
	if w.running {
		b = append(b, `,"usage":{"prompt_tokens":`...)
		b = strconv.AppendInt(b, int64(w.prompt), 10)
		b = append(b, `,"completion_tokens":`...)
		b = strconv.AppendInt(b, int64(e.last), 10)
		b = append(b, `,"total_tokens":`...)
		b = strconv.AppendInt(b, int64(w.prompt+e.last), 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

const toolName = "write_file"

// toolArguments are the arguments of the simulated call whose text was generated.
func toolArguments(text string) string {
	return `{"path":"notes.txt","text":` + string(appendString(nil, text)) + `}`
}

func (w *wire) delta(b []byte, e event) []byte {
	switch e.kind {
	case kindReasoning:
		b = append(b, `{"`...)
		b = append(b, w.reasoningField()...)
		b = append(b, `":`...)
		b = appendString(b, e.text)
	case kindTool:
		b = append(b, `{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"`+toolName+`","arguments":`...)
		b = appendString(b, toolArguments(e.text))
		b = append(b, "}}]"...)
	default:
		b = append(b, `{"content":`...)
		b = appendString(b, e.text)
	}
	return append(b, '}')
}

// said is an event's text as a client must see it.
func (w *wire) said(e event) string {
	if w.chat && e.kind == kindTool {
		return toolName + toolArguments(e.text)
	}
	return e.text
}

func (w *wire) reasoningField() string {
	if w.traps.reasoningField != "" {
		return w.traps.reasoningField
	}
	return "reasoning_content"
}

// last makes the events after the last token: why it ended, then usage and timings.
func (w *wire) last(s *Served) [][]byte {
	end := w.open + `"choices":[{"index":0,"delta":{},"finish_reason":"` + s.Finish + `"}]`
	if !w.chat {
		end = w.open + `"choices":[{"index":0,"text":"","finish_reason":"` + s.Finish + `"}]`
	}
	out := []string{end}
	if w.usage {
		out = append(out, w.open+`"choices":[],"usage":`+w.usageBlock(s))
	}
	if !w.traps.noTimings {
		out[len(out)-1] += `,"timings":` + w.timings(s)
	}
	var b [][]byte
	for _, o := range out {
		b = append(b, []byte(o+"}"))
	}
	return b
}

func (w *wire) usageBlock(s *Served) string {
	n := strconv.Itoa
	b := `{"prompt_tokens":` + n(w.prompt) + `,"completion_tokens":` + n(s.OutputTokens) + `,"total_tokens":` + n(w.prompt+s.OutputTokens)
	if !w.traps.noCachedField {
		b += `,"prompt_tokens_details":{"cached_tokens":` + n(s.CachedTokens) + `}`
	}
	return b + `,"completion_tokens_details":{"reasoning_tokens":` + n(s.Reasoning) + `}}`
}

// timings is a block in llama.cpp's shape: prompt_ms is the prefill of the prompt_n tokens that were not cached,
// predicted_ms runs from the first token to the last, so that one token less than predicted_n falls into it.
func (w *wire) timings(s *Served) string {
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d)/1e6, 'f', 6, 64) }
	promptN := s.PromptTokens - s.CachedTokens
	if w.traps.countCached {
		promptN = s.PromptTokens
	}
	b := "{"
	if !w.traps.noCachedField {
		b += `"cache_n":` + strconv.Itoa(s.CachedTokens) + `,`
	}
	return b + `"prompt_n":` + strconv.Itoa(promptN) + `,"prompt_ms":` + ms(s.PrefillEnd-s.PrefillStart) +
		`,"predicted_n":` + strconv.Itoa(s.OutputTokens) + `,"predicted_ms":` + ms(s.LastToken-s.FirstToken) + `}`
}

// body is the answer of a request that does not stream.
func (w *wire) body(s *Served, events []event) []byte {
	var content, reasoning, tool strings.Builder
	for _, e := range events {
		switch e.kind {
		case kindReasoning:
			reasoning.WriteString(e.text)
		case kindTool:
			tool.WriteString(e.text)
		default:
			content.WriteString(e.text)
		}
	}
	b := []byte(w.open + `"choices":[{"index":0,`)
	if w.chat {
		b = append(b, `"message":{"role":"assistant","content":`...)
		b = appendString(b, content.String())
		if reasoning.Len() > 0 {
			b = append(b, `,"`+w.reasoningField()+`":`...)
			b = appendString(b, reasoning.String())
		}
		if tool.Len() > 0 {
			b = append(b, `,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"`+toolName+`","arguments":`...)
			b = appendString(b, toolArguments(tool.String()))
			b = append(b, "}}]"...)
		}
		b = append(b, '}')
	} else {
		b = append(b, `"text":`...)
		b = appendString(b, content.String())
	}
	b = append(b, `,"finish_reason":"`+s.Finish+`"}]`...)
	if !w.traps.noUsage {
		b = append(b, `,"usage":`+w.usageBlock(s)...)
	}
	if !w.traps.noTimings {
		b = append(b, `,"timings":`+w.timings(s)...)
	}
	return append(b, '}')
}

// appendString appends a JSON string. Characters of several bytes stay as they are.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func errorBody(message, kind string, code int) []byte {
	b, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": kind, "code": code}}) //nolint:errchkjson // strings and numbers only
	return b
}
