package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"time"
)

// naturalEnd is the number of tokens after which the simulated model ends by itself unless told to ignore that.
const naturalEnd = 512

// completionRequest is the body of both completion endpoints.
type completionRequest struct {
	Model         string            `json:"model"`
	Messages      []message         `json:"messages"`
	Prompt        json.RawMessage   `json:"prompt"` // text or token ids
	Tools         []json.RawMessage `json:"tools"`
	Stream        bool              `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
		EachUsage    bool `json:"continuous_usage_stats"`
	} `json:"stream_options"`
	MaxTokens      *int    `json:"max_tokens"`
	MaxCompletion  *int    `json:"max_completion_tokens"`
	IgnoreEOS      bool    `json:"ignore_eos"`
	CachePrompt    *bool   `json:"cache_prompt"` // absent is true
	ReturnTokenIDs bool    `json:"return_token_ids"`
	Seed           *uint64 `json:"seed"`
}

// completion is one request for output, understood.
type completion struct {
	req     completionRequest
	chat    bool
	traps   Traps
	profile Profile
	prompt  []int32
	out     []token
	seed    uint64
	created int64
	hangs   bool
	served  *Served
}

func (c *completion) usage() bool {
	return !c.traps.noUsage && c.req.StreamOptions != nil && (c.req.StreamOptions.IncludeUsage || c.req.StreamOptions.EachUsage)
}

func (c *completion) running() bool { return c.usage() && c.req.StreamOptions.EachUsage }

// refusal is an answer with an error status.
type refusal struct {
	status        int
	message, kind string
	code          any
}

func (r *refusal) Error() string { return r.message }

// complete runs a completion; false means that the connection can't be used any more.
func (s *Server) complete(c *conn, r *request, path string) bool {
	p := &completion{chat: path == "/v1/chat/completions", traps: *s.traps.Load(), profile: s.o.Profile, created: time.Now().Unix()}
	p.served = &Served{
		ID: s.ids.Add(1), Path: path, Status: http.StatusOK, Model: s.o.Profile.Model(), Traps: p.traps.String(), Received: r.got, Upload: r.got - r.begun,
	}
	j, err := s.prepare(c, p, r)
	if err != nil {
		return s.refuse(c, p, err)
	}
	s.await(c)
	s.table.post(j)
	gone := false
	select {
	case <-j.done:
	case <-s.table.ended:
		gone = true
	case f := <-c.first:
		if f.err != nil {
			s.table.post(leave{j})
			gone = true
		}
		select {
		case <-j.done:
		case <-s.table.ended:
		}
		c.first <- f // it has room for one
	}
	s.tally.requests.Add(1)
	s.tally.prompt.Add(int64(len(p.prompt)))
	s.tally.output.Add(int64(len(p.out)))
	select {
	case <-j.done:
		s.journal.print(p.served)
	default:
	}
	return !gone && (p.served.Ended == "complete" || p.served.Ended == "early stop" || p.served.Ended == "error")
}

// prepare makes a request's job. One request at a time is prepared, and after those that are ready to be read: many that
// come at once would otherwise keep one another from being read, and their arrival be stamped late.
func (s *Server) prepare(c *conn, p *completion, r *request) (*job, error) {
	runtime.Gosched()
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if err := s.understand(p, r); err != nil {
		return nil, err
	}
	raw, err := tcpRaw(c)
	if err != nil {
		return nil, err
	}
	j := &job{
		prompt: p.prompt, reuse: p.served.MayCache, slow: 1, arrived: r.got, ticks: max(len(p.out), 1), slots: s.o.Profile.Slots,
		merge: p.traps.buffer > 0, burstOf: p.traps.buffer, conn: c.Conn, raw: raw, served: p.served, done: make(chan struct{}),
	}
	if p.req.Stream {
		j.steps = p.plan()
	} else {
		j.steps = p.whole()
	}
	if stop, _, _ := p.stop(); stop < len(p.out) {
		p.out, j.ticks = p.out[:stop], max(stop, 1)
	}
	p.count()
	j.hangs = p.hangs
	if w := p.traps.warmup; w.factor > 0 && p.served.ID <= int64(w.requests) {
		j.slow = w.factor
	}
	if p.traps.slots > 0 {
		j.slots = p.traps.slots
	}
	if j.reuse {
		j.ids = append(make([]int32, 0, len(p.prompt)+len(p.out)), p.prompt...)
		for _, t := range p.out {
			j.ids = append(j.ids, t.id)
		}
	}
	return j, nil
}

// understand fills in a completion from its request.
func (s *Server) understand(p *completion, r *request) error {
	if err := json.Unmarshal(r.body, &p.req); err != nil {
		return &refusal{http.StatusBadRequest, "the body is not what this endpoint takes: " + err.Error(), "invalid_request_error", 400}
	}
	t, served, prof := p.traps, p.served, s.o.Profile
	served.Stream = p.req.Stream
	if t.status != 0 {
		return &refusal{t.status, "simulated refusal: " + http.StatusText(t.status), "simulated_error", t.status}
	}
	if m := p.req.Model; m != "" && m != prof.Model() && m != prof.Name {
		return &refusal{http.StatusNotFound, fmt.Sprintf("model %q does not exist", m), "invalid_request_error", "model_not_found"}
	}
	if t.refuseUsage && p.req.StreamOptions != nil {
		return &refusal{http.StatusBadRequest, "stream_options is not supported", "invalid_request_error", 400}
	}
	var err error
	if p.prompt, err = p.promptIDs(); err != nil {
		return &refusal{http.StatusBadRequest, err.Error(), "invalid_request_error", 400}
	}
	served.PromptTokens = len(p.prompt)
	asked, stated := naturalEnd, true
	switch {
	case p.req.MaxCompletion != nil:
		asked = *p.req.MaxCompletion
	case p.req.MaxTokens != nil:
		asked = *p.req.MaxTokens
	default:
		asked, stated = min(asked, max(prof.Context-len(p.prompt), 1)), false
	}
	switch {
	case len(p.prompt) == 0:
		return &refusal{http.StatusBadRequest, "the prompt is empty", "invalid_request_error", 400}
	case asked < 1:
		return &refusal{http.StatusBadRequest, "max_tokens must be 1 or more", "invalid_request_error", 400}
	case len(p.prompt)+asked > prof.Context:
		return &refusal{http.StatusBadRequest, fmt.Sprintf("the request (%d prompt tokens and %d to generate) exceeds the available context size (%d tokens)",
			len(p.prompt), asked, prof.Context), "exceed_context_size_error", 400}
	}
	n := asked
	served.Asked, served.Finish = asked, "length"
	if !p.req.IgnoreEOS && (n > naturalEnd || !stated) {
		n, served.Finish = min(n, naturalEnd), "stop"
	}
	if t.earlyStop.set && t.earlyStop.v < n {
		n, served.Finish = t.earlyStop.v, "stop"
	}
	if t.toolHold.set && n > t.toolHold.v && p.chat {
		served.Finish = "tool_calls"
	}
	served.MayCache = p.req.CachePrompt == nil || *p.req.CachePrompt || t.keepCache
	if t.modelChange.set && served.ID > int64(t.modelChange.v) {
		served.Model += "-other"
	}
	for _, id := range p.prompt[max(0, len(p.prompt)-64):] {
		p.seed = p.seed*1099511628211 + uint64(uint32(id))
	}
	if p.req.Seed != nil {
		p.seed ^= *p.req.Seed * 0x9e3779b97f4a7c15
	}
	p.out = generate(n, p.seed, t)
	return nil
}

func (c *completion) promptIDs() ([]int32, error) {
	if c.chat {
		segs, err := render(c.req.Messages, c.req.Tools)
		if err != nil {
			return nil, err
		}
		if len(c.req.Messages) == 0 {
			return nil, errors.New("messages is empty")
		}
		return tokens(segs), nil
	}
	var text string
	if json.Unmarshal(c.req.Prompt, &text) == nil {
		return Tokenize(text), nil
	}
	var ids []int32
	if err := json.Unmarshal(c.req.Prompt, &ids); err != nil {
		return nil, errors.New("prompt is neither text nor a list of token ids")
	}
	return ids, nil
}

// count notes what the output holds.
func (c *completion) count() {
	s := c.served
	s.OutputTokens = len(c.out)
	for i, t := range c.out {
		switch {
		case i < c.traps.reasoningHidden || t.kind == kindReasoning:
			s.Reasoning++
		case t.kind == kindSilent:
			s.Silent++
		}
		if t.kind == kindHidden {
			s.Hidden++
		}
	}
}

// refuse answers with an error status.
func (s *Server) refuse(c *conn, p *completion, err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{http.StatusInternalServerError, err.Error(), "server_error", 500}
	}
	p.served.Status, p.served.Refusal, p.served.Ended = r.status, r.message, "refused"
	s.journal.add(p.served, false)
	s.journal.print(p.served)
	extra := ""
	if p.traps.retryAfter != "" {
		extra = "Retry-After: " + p.traps.retryAfter + "\r\n"
	}
	body, err := json.Marshal(map[string]any{"error": map[string]any{"message": r.message, "type": r.kind, "code": r.code}})
	if err != nil {
		return false
	}
	_, err = c.Write(answer(r.status, "application/json", body, extra))
	return err == nil
}

func tcpRaw(c *conn) (syscall.RawConn, error) {
	t, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("simulator: not a TCP connection")
	}
	return t.SyscallConn()
}
