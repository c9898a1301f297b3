package sim

import (
	"encoding/json"
	"errors"
	"maps"
)

// ownDialect is what the simulator speaks unless told otherwise: OpenAI's routes, llama-server's timings, and /props that
// say what it is.
func ownDialect(s *Server) *dialect {
	st := style{last: llamaTimings}
	return &dialect{
		generates: []endpoint{
			{path: "/v1/chat/completions", read: readOwn, speak: openAI(st)},
			{path: "/v1/completions", read: readOwn, speak: openAI(st)},
		},
		refusal: nestedError,
		answers: []plainRoute{
			{"GET /health", func(*request) any { return map[string]string{"status": "ok"} }},
			{"GET /v1/models", func(*request) any { return s.ownModels() }},
			{"GET /props", func(*request) any { return s.props() }},
			{"GET /metrics", func(*request) any { return s.ownMetrics() }},
			{"POST /tokenize", func(r *request) any { return s.ownTokenize(r, "/tokenize") }},
			{"POST /apply-template", func(r *request) any { return s.ownTokenize(r, "/apply-template") }},
		},
	}
}

// nestedError is the body that most servers have: an error object with message, type and code.
func nestedError(r *refusal) []byte {
	e := map[string]any{"message": r.message, "type": r.kind, "code": r.code}
	maps.Copy(e, r.more)
	b, err := json.Marshal(map[string]any{"error": e})
	if err != nil {
		return errorBody(r.message, r.kind, r.status)
	}
	return b
}

// openAIRequest is the body of OpenAI's two completion endpoints, with the extras that several servers have.
type openAIRequest struct {
	Model         string            `json:"model"`
	Messages      []message         `json:"messages"`
	Prompt        json.RawMessage   `json:"prompt"` // text or token ids
	Tools         []json.RawMessage `json:"tools"`
	Stream        bool              `json:"stream"`
	StreamOptions *struct {
		IncludeUsage *bool `json:"include_usage"`
		EachUsage    *bool `json:"continuous_usage_stats"`
	} `json:"stream_options"`
	MaxTokens      *int    `json:"max_tokens"`
	MaxCompletion  *int    `json:"max_completion_tokens"`
	MinTokens      int     `json:"min_tokens"`
	IgnoreEOS      bool    `json:"ignore_eos"`
	CachePrompt    *bool   `json:"cache_prompt"` // absent is true
	CacheSalt      string  `json:"cache_salt"`
	ReturnTokenIDs bool    `json:"return_token_ids"`
	Seed           *uint64 `json:"seed"`
}

// parse reads a body.
func parse(body []byte, to any) error {
	if err := json.Unmarshal(body, to); err != nil {
		return errors.New("the body is not what this endpoint takes: " + err.Error())
	}
	return nil
}

// common fills in what most OpenAI-like servers understand; the rest is the dialect's.
func (q *openAIRequest) common(c *completion) {
	c.model, c.stream, c.seed, c.reuse = q.Model, q.Stream, q.Seed, true
	c.chat = c.endpoint.chat()
	if o := q.StreamOptions; o != nil {
		c.optioned = true
		c.usage = o.IncludeUsage != nil && *o.IncludeUsage
	}
	c.tokens = q.MaxTokens
	if q.MaxCompletion != nil {
		c.tokens = q.MaxCompletion
	}
}

// each asks for usage in every event, as vLLM and its like take it.
func (q *openAIRequest) each() bool {
	return q.StreamOptions != nil && q.StreamOptions.EachUsage != nil && *q.StreamOptions.EachUsage
}

func readOwn(c *completion, body []byte) error {
	var q openAIRequest
	if err := parse(body, &q); err != nil {
		return err
	}
	q.common(c)
	c.running, c.ids, c.ignoreEOS = q.each(), q.ReturnTokenIDs, q.IgnoreEOS
	c.reuse = q.CachePrompt == nil || *q.CachePrompt
	var err error
	if c.chat {
		c.prompt, err = chatPrompt(q.Messages, q.Tools)
	} else {
		c.prompt, err = textOrIDs(q.Prompt, Tokenize)
	}
	return err
}

// chatPrompt renders a conversation by the template.
func chatPrompt(messages []message, tools []json.RawMessage) ([]int32, error) {
	segs, err := render(messages, tools)
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, errors.New("messages is empty")
	}
	return tokens(segs), nil
}

// textOrIDs reads a prompt that is text or a list of token ids.
func textOrIDs(prompt json.RawMessage, tokenize func(string) []int32) ([]int32, error) {
	var text string
	if json.Unmarshal(prompt, &text) == nil {
		return tokenize(text), nil
	}
	var ids []int32
	if err := json.Unmarshal(prompt, &ids); err != nil {
		return nil, errors.New("prompt is neither text nor a list of token ids")
	}
	return ids, nil
}

func (s *Server) ownModels() any {
	p := s.o.Profile
	return map[string]any{"object": "list", "data": []any{map[string]any{
		"id": p.Model(), "object": "model", "created": s.origin.Unix(), "owned_by": serverName,
		"meta": map[string]any{"n_ctx": p.Context, "n_ctx_train": p.Context, "simulated": true},
	}}}
}

// Props is the answer of GET /props in the simulator's own dialect.
type Props struct {
	Simulated   bool   `json:"simulated"` // always true; what tells a simulator from a server
	BuildInfo   string `json:"build_info"`
	Profile     string `json:"profile"`
	Title       string `json:"title"`
	Model       string `json:"model"`
	Traps       string `json:"traps"`
	Slots       int    `json:"total_slots"`
	Context     int    `json:"n_ctx"`
	CacheBlock  int    `json:"cache_block"`
	Template    int    `json:"template_tokens"`   // before the first message's text
	CountsUsage bool   `json:"accepts_usage"`     // stream_options is accepted
	Tokenizes   bool   `json:"tokenize_endpoint"` // POST /tokenize is there
}

func (s *Server) props() Props {
	p, t := s.o.Profile, s.traps.Load()
	return Props{
		Simulated: true, BuildInfo: serverName + " timetable/1", Profile: p.Name, Title: p.Title, Model: p.Model(), Traps: t.String(), Slots: s.slots(),
		Context: p.Context, CacheBlock: s.table.cache.block, Template: TemplateTokens, CountsUsage: !t.refuseUsage, Tokenizes: !t.noTokenize,
	}
}

func (s *Server) ownMetrics() any {
	c, a, sums := s.CacheStats(), s.Activity(), s.journal.totals()
	x := exposition{prefix: "sim:", labels: `model_name="` + s.o.Profile.Model() + `"`}
	x.counter("prefix_cache_queries_total", c.QueriedTokens)
	x.counter("prefix_cache_hits_total", c.HitTokens)
	x.gauge("num_requests_running", a.Running)
	x.gauge("num_requests_waiting", a.Waiting)
	x.counter("requests_total", sums.requests)
	x.counter("prompt_tokens_total", sums.prompt)
	x.counter("generation_tokens_total", sums.output)
	return x.reply()
}

func (s *Server) ownTokenize(r *request, path string) any {
	if no := s.tokenizes(path); no != nil {
		return no
	}
	var in struct {
		Content  *string           `json:"content"`
		Messages []message         `json:"messages"`
		Tools    []json.RawMessage `json:"tools"`
	}
	if err := parse(r.body, &in); err != nil {
		return refused(err)
	}
	if path == "/tokenize" && in.Content != nil {
		return tokenized(s.drifted(Tokenize(*in.Content)))
	}
	segs, err := render(in.Messages, in.Tools)
	if err != nil {
		return refused(err)
	}
	if path == "/apply-template" {
		return map[string]string{"prompt": plain(segs)}
	}
	return tokenized(s.drifted(tokens(segs)))
}

func tokenized(ids []int32) any { return map[string]any{"tokens": ids, "count": len(ids)} }
