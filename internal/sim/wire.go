package sim

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

const serverName = "llm-speed-sim"

// style is what tells one OpenAI-like server's answers from another's. The zero value is the simulator's own.
type style struct {
	reasoning   string                          // member that reasoning is put into; empty: reasoning_content
	each        string                          // members of every chunk, `"provider":"x",`
	first       string                          // further members of the first chunk alone
	opening     string                          // the delta that opens a chat; empty: a role and no content; "none": there is none
	roleEach    bool                            // each delta repeats the role
	finish      string                          // members of the finish chunk's choice, but for its reason; empty: an empty delta or text
	firstChoice string                          // of the first one that has text, besides
	openUsage   bool                            // the opening chunk states usage too, where each does
	choice      string                          // further members of each choice that has text
	tokenID     bool                            // each choice that has text states the id of its last token
	nullUsage   bool                            // "usage":null where there is none yet
	onFinish    bool                            // usage stands on the finish chunk
	reason      func(finish string) string      // its word for why it ended; nil: OpenAI's
	counts      func(w *wire, s *Served) string // its usage object; nil: OpenAI's
	last        func(w *wire, s *Served) string // further members of the last chunk and of a whole answer, each with a comma before it
	fault       func(w *wire, m string) string  // its error inside a stream; nil: OpenAI's
	usageLike   string                          // object of the usage chunk; empty: that of the others
}

// wire is the voice of OpenAI's two completion endpoints.
type wire struct {
	sse
	style
	c      *completion
	chat   bool
	traps  Traps
	ids    bool // token ids in each event
	each   bool // usage so far in each event
	prompt int  // prompt tokens as stated
	open   string
	head   string // open, and what the first chunk has besides
	usage  bool
	opened bool // the first chunk was made
}

// openAI gives the voice in a style.
func openAI(st style) func(c *completion) voice {
	return func(c *completion) voice { return newWire(c, st) }
}

func newWire(c *completion, st style) *wire {
	w := &wire{
		sse: newSSE(c.traps), style: st, c: c,
		chat: c.chat, traps: c.traps, ids: c.ids && !c.traps.noIDs, each: c.eachUsage(),
		prompt: len(c.prompt) + c.traps.wrongPromptCount, usage: c.statesUsage(),
	}
	id, object := "chatcmpl-sim-", "chat.completion"
	if !c.chat {
		id, object = "cmpl-sim-", "text_completion"
	}
	if c.chat && c.stream {
		object += ".chunk"
	}
	w.open = `{"id":"` + id + strconv.FormatInt(c.served.ID, 10) + `","object":"` + object + `","created":` + strconv.FormatInt(c.created, 10) + `,"model":"` + c.served.Model + `",` + st.each
	w.head = w.open + st.first
	return w
}

// start is what a chunk begins with.
func (w *wire) start() string {
	if w.opened {
		return w.open
	}
	w.opened = true
	return w.head
}

// opening is the event that opens a chat stream; a plain completion has none.
func (w *wire) opening() []byte {
	delta := `{"role":"assistant","content":null}`
	switch {
	case !w.chat || w.style.opening == "none":
		return nil
	case w.style.opening != "":
		delta = w.style.opening
	}
	b := []byte(w.start() + `"choices":[{"index":0,"delta":` + delta + `,"finish_reason":null}]` + w.unused())
	if w.each && w.openUsage {
		b = w.soFar(b, 0)
	}
	return w.frame(append(b, '}'))
}

// unused is the usage of a chunk that has none.
func (w *wire) unused() string {
	if w.nullUsage && w.usage {
		return `,"usage":null`
	}
	return ""
}

// event appends the frame of a group of tokens.
func (w *wire) event(b []byte, e event, pad int) []byte {
	b = w.begin(b, "")
	b = append(b, w.start()...)
	b = padding(b, pad)
	b = append(b, `"choices":[{"index":0,`...)
	if w.chat {
		b = append(b, `"delta":`...)
		b = w.delta(b, e)
	} else {
		b = append(b, `"text":`...)
		b = appendString(b, e.text)
	}
	b = append(b, `,"finish_reason":null`...)
	b = append(b, w.choice...)
	if w.tokenID {
		b = strconv.AppendInt(append(b, `,"token_id":`...), int64(e.ids[len(e.ids)-1]), 10)
	}
	if w.firstChoice != "" {
		b = append(b, w.firstChoice...)
		w.firstChoice = ""
	}
	if w.ids {
		b = append(b, `,"token_ids":`...)
		b = appendIDs(b, e.ids)
	}
	b = append(b, "}]"...)
	if w.each {
		b = w.soFar(b, e.last)
	} else {
		b = append(b, w.unused()...)
	}
	return w.shut(append(b, '}'))
}

// soFar appends the usage up to a token.
func (w *wire) soFar(b []byte, upTo int) []byte {
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(w.prompt), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, int64(upTo), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(w.prompt+upTo), 10)
	return append(b, '}')
}

func appendIDs(b []byte, ids []int32) []byte {
	b = append(b, '[')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return append(b, ']')
}

const toolName = "write_file"

// toolArguments are the arguments of the simulated call whose text was generated.
func toolArguments(text string) string {
	return `{"path":"notes.txt","text":` + string(appendString(nil, text)) + `}`
}

func (w *wire) delta(b []byte, e event) []byte {
	b = append(b, '{')
	if w.roleEach {
		b = append(b, `"role":"assistant",`...)
	}
	switch e.kind {
	case kindReasoning:
		b = append(b, '"')
		b = append(b, w.reasoningField()...)
		b = append(b, `":`...)
		b = appendString(b, e.text)
	case kindTool:
		b = append(b, `"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"`+toolName+`","arguments":`...)
		b = appendString(b, toolArguments(e.text))
		b = append(b, "}}]"...)
	default:
		b = append(b, `"content":`...)
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
	switch {
	case w.traps.reasoningField != "":
		return w.traps.reasoningField
	case w.style.reasoning != "":
		return w.style.reasoning
	}
	return "reasoning_content"
}

func (w *wire) why(s *Served) string {
	if w.reason != nil {
		return w.reason(s.Finish)
	}
	return s.Finish
}

// ending makes the events after the last token: why it ended, then usage and what the server says of itself.
func (w *wire) ending(s *Served, _ *event) [][]byte {
	choice := w.finish
	switch {
	case choice != "":
	case w.chat:
		choice = `"delta":{}`
	default:
		choice = `"text":""`
	}
	end := w.start() + `"choices":[{"index":0,` + choice + `,"finish_reason":"` + w.why(s) + `"}]`
	out := []string{end}
	switch {
	case w.usage && w.onFinish:
		out[0] += `,"usage":` + w.usageBlock(s)
	case w.usage:
		out[0] += w.unused()
		open := w.open
		if w.usageLike != "" {
			open = strings.Replace(open, `"object":"chat.completion.chunk"`, `"object":"`+w.usageLike+`"`, 1)
		}
		out = append(out, open+`"choices":[],"usage":`+w.usageBlock(s))
	}
	if w.last != nil {
		out[len(out)-1] += w.last(w, s)
	}
	var b [][]byte
	for _, o := range out {
		b = append(b, w.frame([]byte(o+"}")))
	}
	return b
}

// failure is an error inside the stream.
func (w *wire) failure(message string) []byte {
	if w.fault != nil {
		return w.frame([]byte(w.fault(w, message)))
	}
	return w.sse.failure(message)
}

func (w *wire) usageBlock(s *Served) string {
	if w.counts != nil {
		return w.counts(w, s)
	}
	n := strconv.Itoa
	b := `{"prompt_tokens":` + n(w.prompt) + `,"completion_tokens":` + n(s.OutputTokens) + `,"total_tokens":` + n(w.prompt+s.OutputTokens)
	if !w.traps.noCachedField {
		b += `,"prompt_tokens_details":{"cached_tokens":` + n(s.CachedTokens) + `}`
	}
	return b + `,"completion_tokens_details":{"reasoning_tokens":` + n(s.Reasoning) + `}}`
}

// llamaTimings are the last chunk's timings as llama-server has them; nothing under the trap no-timings.
func llamaTimings(w *wire, s *Served) string {
	if w.traps.noTimings {
		return ""
	}
	return `,"timings":` + w.timings(s)
}

// timings is a block in llama.cpp's shape: prompt_ms is the prefill of the prompt_n tokens that were not cached,
// predicted_ms runs from the first token to the last, so that one token less than predicted_n falls into it.
func (w *wire) timings(s *Served) string {
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
	b := []byte(w.head + `"choices":[{"index":0,`)
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
	b = append(b, `,"finish_reason":"`+w.why(s)+`"}]`...)
	if !w.traps.noUsage {
		b = append(b, `,"usage":`+w.usageBlock(s)...)
	}
	if w.last != nil {
		b = append(b, w.last(w, s)...)
	}
	return append(b, '}')
}

// ms and secs write a duration as JSON.
func ms(d time.Duration) string   { return strconv.FormatFloat(float64(d)/1e6, 'f', 6, 64) }
func secs(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 9, 64) }

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

// perSecond is n over d; 0 where that is no number.
func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
