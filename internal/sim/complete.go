package sim

import (
	"errors"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"time"
)

// naturalEnd is the number of tokens after which the simulated model ends by itself unless told to ignore that.
const naturalEnd = 512

// completion is one request for output, understood.
type completion struct {
	ask
	dialect  *dialect
	endpoint *endpoint
	traps    Traps
	profile  Profile
	out      []token
	number   uint64 // the seed of what is said
	created  int64
	hangs    bool
	served   *Served
}

// statesUsage reports whether the stream states usage, eachUsage whether each of its events does.
func (c *completion) statesUsage() bool { return !c.traps.noUsage && (c.usage || c.running) }
func (c *completion) eachUsage() bool   { return !c.traps.noUsage && c.running }

// refusal is an answer with an error status.
type refusal struct {
	status        int
	message, kind string
	code          any
	more          map[string]any // further members of the error object
}

func refuse(status int, message, kind string, code any) *refusal {
	return &refusal{status: status, message: message, kind: kind, code: code}
}

func (r *refusal) Error() string { return r.message }

// complete runs a completion; false means that the connection can't be used any more.
func (s *Server) complete(c *conn, r *request, e *endpoint) bool {
	p := s.completion(e, *s.traps.Load())
	p.served.Received, p.served.Upload = r.got, r.got-r.begun
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
	select {
	case <-j.done:
		s.journal.print(p.served)
	default:
	}
	return !gone && (p.served.Ended == "complete" || p.served.Ended == "early stop" || p.served.Ended == "error")
}

// completion makes an empty one for a request to e.
func (s *Server) completion(e *endpoint, t Traps) *completion {
	d := s.dialect
	if d.always != nil {
		d.always(&t)
	}
	if e.fit != nil {
		e.fit(&t)
	}
	return &completion{
		dialect: d, endpoint: e, traps: t, profile: s.o.Profile, created: time.Now().Unix(),
		served: &Served{ID: s.ids.Add(1), Path: e.path, Status: http.StatusOK, Model: d.modelID(s.o.Profile), Traps: t.String()},
	}
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
		prompt: p.prompt, reuse: p.served.MayCache, salt: p.salt, load: p.load, slow: 1, arrived: r.got, ticks: max(len(p.out), 1), slots: s.o.Profile.Slots,
		merge: p.traps.buffer > 0, burstOf: p.traps.buffer, conn: c.Conn, raw: raw, served: p.served, done: make(chan struct{}),
	}
	if p.stream {
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
	err := p.endpoint.read(p, r.body)
	t, served, prof := p.traps, p.served, s.o.Profile
	served.Stream = p.stream
	switch {
	case t.status != 0:
		return refuse(t.status, "simulated refusal: "+http.StatusText(t.status), "simulated_error", t.status)
	case errors.As(err, new(*answered)):
		return err
	case err != nil:
		return refused(err)
	case !p.dialect.knows(p.model, prof):
		return p.dialect.refuseModel(p.model)
	case t.refuseUsage && p.optioned:
		return refuse(http.StatusBadRequest, "stream_options is not supported", "invalid_request_error", 400)
	}
	if err := p.size(); err != nil {
		return err
	}
	n := served.Asked
	natural := naturalEnd
	if p.dialect.natural > 0 {
		natural = p.dialect.natural
	}
	natural = max(natural, p.least)
	served.Finish = "length"
	if !p.ignoreEOS && (n > natural || p.tokens == nil) {
		n, served.Finish = min(n, natural), "stop"
	}
	if t.earlyStop.set && t.earlyStop.v < n {
		n, served.Finish = t.earlyStop.v, "stop"
	}
	if t.toolHold.set && n > t.toolHold.v && p.chat {
		served.Finish = "tool_calls"
	}
	if t.keepCache {
		p.reuse, p.salt = true, ""
	}
	served.MayCache, served.Load = p.reuse, p.load
	if t.modelChange.set && served.ID > int64(t.modelChange.v) {
		served.Model += "-other"
	}
	for _, id := range p.prompt[max(0, len(p.prompt)-64):] {
		p.number = p.number*1099511628211 + uint64(uint32(id))
	}
	if p.seed != nil {
		p.number ^= *p.seed * 0x9e3779b97f4a7c15
	}
	p.out = generate(n, p.number, t)
	return nil
}

// size checks that prompt and output fit.
func (c *completion) size() error {
	limit := c.profile.Context
	if c.context > 0 {
		limit = min(limit, c.context)
	}
	room := limit - len(c.prompt)
	asked := min(naturalEnd, max(room, 1))
	if c.tokens != nil {
		asked = *c.tokens
	}
	if c.clips && room > 0 {
		asked = min(asked, room)
	}
	c.served.PromptTokens, c.served.Asked = len(c.prompt), asked
	switch {
	case len(c.prompt) == 0:
		return refuse(http.StatusBadRequest, "the prompt is empty", "invalid_request_error", 400)
	case asked < 1:
		return refuse(http.StatusBadRequest, "max_tokens must be 1 or more", "invalid_request_error", 400)
	case asked > room:
		return c.dialect.refuseSize(c, asked, limit)
	}
	return nil
}

// refused makes a refusal of what was wrong with a request.
func refused(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return refuse(http.StatusBadRequest, err.Error(), "invalid_request_error", 400)
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

// refuse answers with an error status, or with what needs no generation; the latter is no completion and not in the log.
func (s *Server) refuse(c *conn, p *completion, err error) bool {
	var a *answered
	if errors.As(err, &a) {
		b, err := s.write(a.body)
		if err == nil {
			_, err = c.Write(b)
		}
		return err == nil
	}
	var r *refusal
	if !errors.As(err, &r) {
		r = refuse(http.StatusInternalServerError, err.Error(), "server_error", 500)
	}
	p.served.Status, p.served.Refusal, p.served.Ended = r.status, r.message, "refused"
	s.journal.add(p.served, false)
	s.journal.print(p.served)
	extra := ""
	if p.traps.retryAfter != "" {
		extra = "Retry-After: " + p.traps.retryAfter + "\r\n"
	}
	if p.dialect.headers != nil {
		extra += p.dialect.headers(p.served.ID)
	}
	_, err = c.Write(s.answer(r.status, "application/json", p.dialect.refusal(r), extra))
	return err == nil
}

func tcpRaw(c *conn) (syscall.RawConn, error) {
	t, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("simulator: not a TCP connection")
	}
	return t.SyscallConn()
}
