package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// anthropic speaks as Anthropic's Messages API.
func anthropic(s *Server) *dialect {
	return &dialect{
		bases: []string{"/v1", ""}, natural: longAnswer,
		authorise: func(r *request) *refusal {
			switch {
			case r.Header.Get("X-Api-Key") == "" && r.Header.Get("Authorization") == "":
				return refuse(http.StatusUnauthorized, "x-api-key header is required", "authentication_error", nil)
			case r.Header.Get("Anthropic-Version") == "":
				return refuse(http.StatusBadRequest, "anthropic-version: header is required", "invalid_request_error", nil)
			}
			return nil
		},
		generates: []endpoint{{path: "/messages", read: readAnthropic, speak: speakAnthropic}},
		refusal: func(r *refusal) []byte {
			return anthropicError(r.message, map[int]string{
				400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error",
				500: "api_error", 503: "overloaded_error",
			}[r.status])
		},
		missing: func(m string) *refusal { return refuse(http.StatusNotFound, "model: "+m, "not_found_error", nil) },
		overflow: func(c *completion, asked, limit int) *refusal {
			return refuse(http.StatusBadRequest, fmt.Sprintf("input length and `max_tokens` exceed context limit: %d + %d > %d, decrease input length or `max_tokens` and try again", len(c.prompt), asked, limit), "", nil)
		},
		headers: func(id int64) string {
			return fmt.Sprintf("request-id: req_sim%d\r\nanthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\nanthropic-ratelimit-requests-reset: 2026-01-01T00:00:00Z\r\n", id)
		},
		answers: []plainRoute{
			{"GET /models", func(*request) any {
				return map[string]any{"data": []any{anthropicModel(s)}, "has_more": false, "first_id": s.o.Profile.Model(), "last_id": s.o.Profile.Model()}
			}},
			{"GET /models/" + s.o.Profile.Model(), func(*request) any { return anthropicModel(s) }},
			{"POST /messages/count_tokens", func(r *request) any {
				var q anthropicRequest
				if err := parse(r.body, &q); err != nil {
					return refused(err)
				}
				ids, err := q.prompt()
				if err != nil {
					return refused(err)
				}
				return map[string]int{"input_tokens": len(s.drifted(ids))}
			}},
		},
	}
}

func anthropicModel(s *Server) any {
	p := s.o.Profile
	return map[string]any{"type": "model", "id": p.Model(), "display_name": p.Title, "created_at": "2026-01-01T00:00:00Z", "max_input_tokens": p.Context, "max_tokens": p.Context}
}

func anthropicError(message, kind string) []byte {
	b, err := json.Marshal(map[string]any{"type": "error", "error": map[string]string{"type": kind, "message": message}})
	if err != nil {
		return nil
	}
	return b
}

// anthropicRequest is what of a request is understood.
type anthropicRequest struct {
	Model     string            `json:"model"`
	System    json.RawMessage   `json:"system"`
	Messages  []anthropicTurn   `json:"messages"`
	Tools     []json.RawMessage `json:"tools"`
	MaxTokens *int              `json:"max_tokens"`
	Stream    bool              `json:"stream"`
}

type anthropicTurn struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"` // text or blocks
}

type anthropicBlock struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	Name    string          `json:"name"`
	Input   json.RawMessage `json:"input"`
	CallID  string          `json:"tool_use_id"`
	ID      string          `json:"id"`
	Content json.RawMessage `json:"content"`
}

// blocks reads a content.
func blocks(raw json.RawMessage) ([]anthropicBlock, error) {
	var text string
	if len(raw) == 0 {
		return nil, nil
	}
	if json.Unmarshal(raw, &text) == nil {
		return []anthropicBlock{{Type: "text", Text: text}}, nil
	}
	var list []anthropicBlock
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("messages: content is neither text nor a list of blocks")
	}
	return list, nil
}

// prompt renders the conversation by the simulator's template. A result must follow the call that it is of.
func (q *anthropicRequest) prompt() ([]int32, error) {
	var out []message
	system, err := blocks(q.System)
	if err != nil {
		return nil, err
	}
	if len(system) > 0 {
		var b strings.Builder
		for _, p := range system {
			b.WriteString(p.Text)
		}
		out = append(out, message{Role: "system", Content: jsonText(b.String())})
	}
	calls := map[string]bool{}
	for i, turn := range q.Messages {
		if turn.Role != "user" && turn.Role != "assistant" {
			return nil, fmt.Errorf("messages.%d.role: Input should be 'user' or 'assistant'", i)
		}
		list, err := blocks(turn.Content)
		if err != nil {
			return nil, err
		}
		m := message{Role: turn.Role}
		var text strings.Builder
		open := calls
		if turn.Role == "assistant" {
			calls = map[string]bool{}
		}
		for _, b := range list {
			switch b.Type {
			case "text":
				if b.Text == "" {
					return nil, fmt.Errorf("messages.%d: text content blocks must be non-empty", i)
				}
				text.WriteString(b.Text)
			case "tool_use":
				calls[b.ID] = true
				c := toolCall{}
				c.Function.Name, c.Function.Arguments = b.Name, b.Input
				m.ToolCalls = append(m.ToolCalls, c)
			case "tool_result":
				if !open[b.CallID] {
					return nil, fmt.Errorf("messages.%d: unexpected `tool_use_id` found in `tool_result` blocks: %s", i, b.CallID)
				}
				delete(open, b.CallID)
				inner, err := blocks(b.Content)
				if err != nil {
					return nil, err
				}
				var t strings.Builder
				for _, p := range inner {
					t.WriteString(p.Text)
				}
				out = append(out, message{Role: "tool", Content: jsonText(t.String())})
			default:
				return nil, fmt.Errorf("messages.%d: block of type %q is not supported", i, b.Type)
			}
		}
		if turn.Role == "user" && len(open) > 0 {
			return nil, fmt.Errorf("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after", i)
		}
		if text.Len() > 0 || len(m.ToolCalls) > 0 {
			m.Content = jsonText(text.String())
			out = append(out, m)
		}
	}
	return conversation(out, q.Tools)
}

func readAnthropic(c *completion, body []byte) (err error) {
	var q anthropicRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	c.model, c.stream, c.tokens, c.chat, c.usage = q.Model, q.Stream, q.MaxTokens, true, true
	if q.MaxTokens == nil {
		return errors.New("max_tokens: Field required")
	}
	c.reuse = strings.Contains(string(body), `"cache_control"`) // nothing is cached unasked
	c.prompt, err = q.prompt()
	return err
}

// anthropicVoice writes named events: a message of blocks, each of which begins and ends.
type anthropicVoice struct {
	sse
	c     *completion
	block int    // index of the open block; -1: none was opened
	kind  string // of the open block
}

func speakAnthropic(c *completion) voice { return &anthropicVoice{newSSE(c.traps), c, -1, ""} }

func (v *anthropicVoice) torn() string {
	return "event: content_block_delta\ndata: {\"type\":\"content_bl"
}
func (v *anthropicVoice) garbage() []byte {
	return v.named(nil, "content_block_delta", []byte(`{"type":"content_block_delta","ind`))
}

func (v *anthropicVoice) failure(message string) []byte {
	return v.named(nil, "error", anthropicError(message, "api_error"))
}

func (v *anthropicVoice) mark(*Served) []byte {
	return v.named(nil, "message_stop", []byte(`{"type":"message_stop"}`))
}

// input and wrote split the prompt, together with the cached tokens, into what was read from the cache, what was written to it and the rest.
func (v *anthropicVoice) input(s *Served) int {
	if s.MayCache {
		return min(3, s.PromptTokens-s.CachedTokens) + v.c.traps.wrongPromptCount
	}
	return s.PromptTokens + v.c.traps.wrongPromptCount
}

func (v *anthropicVoice) wrote(s *Served) int {
	if s.MayCache {
		return s.PromptTokens - s.CachedTokens - min(3, s.PromptTokens-s.CachedTokens)
	}
	return 0
}

func (v *anthropicVoice) holes() []hole {
	return []hole{
		{`"input_tokens":`, v.input}, {`"cache_creation_input_tokens":`, v.wrote},
		{`"cache_read_input_tokens":`, func(s *Served) int { return s.CachedTokens }},
	}
}

// opening states the prompt's tokens, in blanks that are filled when it is sent; gzip can't be filled, and has none.
func (v *anthropicVoice) opening() []byte {
	usage := ""
	if !v.c.traps.gzip && !v.c.traps.noUsage {
		usage = `"input_tokens":` + holeBlanks + `,`
		if !v.c.traps.noCachedField {
			usage += `"cache_creation_input_tokens":` + holeBlanks + `,"cache_read_input_tokens":` + holeBlanks + `,`
		}
	}
	b := v.named(nil, "message_start", []byte(`{"type":"message_start","message":{"id":"msg_sim`+strconv.FormatInt(v.c.served.ID, 10)+
		`","type":"message","role":"assistant","model":"`+v.c.served.Model+`","content":[],"stop_reason":null,"stop_sequence":null,"usage":{`+usage+`"output_tokens":1,"service_tier":"standard"}}}`))
	return v.named(b, "ping", []byte(`{"type":"ping"}`))
}

func (v *anthropicVoice) said(e event) string {
	if e.kind == kindTool {
		return toolName + toolArguments(e.text)
	}
	return e.text
}

// event appends a delta, after the end of another block and the beginning of its own where need be.
func (v *anthropicVoice) event(b []byte, e event, pad int) []byte {
	kind := e.kind
	switch {
	case kind == kindSilent && v.kind != "":
		kind = v.kind
	case kind == kindSilent:
		kind = kindContent
	}
	if kind != v.kind {
		b = v.shutBlock(b)
		v.block++
		v.kind = kind
		b = v.named(b, "content_block_start", []byte(`{"type":"content_block_start","index":`+strconv.Itoa(v.block)+`,"content_block":`+v.start(kind)+`}`))
	}
	b = v.begin(b, "content_block_delta")
	b = padding(append(b, '{'), pad)
	b = append(b, `"type":"content_block_delta","index":`...)
	b = strconv.AppendInt(b, int64(v.block), 10)
	switch kind {
	case kindReasoning:
		b = appendString(append(b, `,"delta":{"type":"thinking_delta","thinking":`...), e.text)
	case kindTool:
		b = appendString(append(b, `,"delta":{"type":"input_json_delta","partial_json":`...), toolArguments(e.text))
	default:
		b = appendString(append(b, `,"delta":{"type":"text_delta","text":`...), e.text)
	}
	return v.shut(append(b, "}}"...))
}

func (v *anthropicVoice) start(kind string) string {
	switch kind {
	case kindReasoning:
		return `{"type":"thinking","thinking":"","signature":""}`
	case kindTool:
		return `{"type":"tool_use","id":"toolu_1","name":"` + toolName + `","input":{}}`
	}
	return `{"type":"text","text":""}`
}

func (v *anthropicVoice) shutBlock(b []byte) []byte {
	if v.block < 0 {
		return b
	}
	return v.named(b, "content_block_stop", []byte(`{"type":"content_block_stop","index":`+strconv.Itoa(v.block)+`}`))
}

func (v *anthropicVoice) why(s *Served) string {
	switch s.Finish {
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	}
	return "end_turn"
}

// usage is cumulative: it takes the place of that of the beginning.
func (v *anthropicVoice) usage(s *Served) string {
	b := "{"
	if !v.c.traps.noUsage {
		b += fmt.Sprintf(`"input_tokens":%d,`, v.input(s))
		if !v.c.traps.noCachedField {
			b += fmt.Sprintf(`"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,`, v.wrote(s), s.CachedTokens)
		}
		b += fmt.Sprintf(`"output_tokens":%d`, s.OutputTokens)
	}
	return b + "}"
}

func (v *anthropicVoice) ending(s *Served, _ *event) [][]byte {
	var list [][]byte
	if b := v.shutBlock(nil); b != nil {
		list = append(list, b)
	}
	return append(list, v.named(nil, "message_delta", []byte(`{"type":"message_delta","delta":{"stop_reason":"`+v.why(s)+`","stop_sequence":null},"usage":`+v.usage(s)+`}`)))
}

func (v *anthropicVoice) body(s *Served, events []event) []byte {
	var parts []string
	for _, k := range []string{kindReasoning, kindContent, kindTool} {
		var text strings.Builder
		for _, e := range events {
			if e.kind == k {
				text.WriteString(e.text)
			}
		}
		said := string(appendString(nil, text.String()))
		switch {
		case text.Len() == 0:
		case k == kindReasoning:
			parts = append(parts, `{"type":"thinking","signature":"","thinking":`+said+`}`)
		case k == kindTool:
			parts = append(parts, `{"type":"tool_use","id":"toolu_1","name":"`+toolName+`","input":`+toolArguments(text.String())+`}`)
		default:
			parts = append(parts, `{"type":"text","text":`+said+`}`)
		}
	}
	return []byte(`{"id":"msg_sim` + strconv.FormatInt(s.ID, 10) + `","type":"message","role":"assistant","model":"` + s.Model + `","content":[` + strings.Join(parts, ",") +
		`],"stop_reason":"` + v.why(s) + `","stop_sequence":null,"usage":` + v.usage(s) + `}`)
}
