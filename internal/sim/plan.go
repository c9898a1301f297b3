package sim

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// token is one output token: what it is part of, and its text.
type token struct {
	id   int32
	text string
	kind string
}

// splitPause lies between the writes that one event is split over, so that they are read one by one; less where tokens
// follow one another faster, so that the stream does not fall behind.
const splitPause = 300 * time.Microsecond

// cutPause lies between the last token and the loss of the connection, so that the token is read before.
const cutPause = 5 * time.Millisecond

// generate makes the n output tokens of a request under its traps.
func generate(n int, seed uint64, t Traps) []token {
	out := say(n, seed)
	hidden := min(t.reasoningHidden, n)
	for i := range out[:hidden] {
		out[i].kind, out[i].text = kindHidden, ""
	}
	rest := out[hidden:]
	for i := range rest[:min(t.reasoning, len(rest))] {
		rest[i].kind = kindReasoning
	}
	visible := rest[min(t.reasoning, len(rest)):]
	if t.toolHold.set {
		for i := range visible {
			if i >= t.toolHold.v {
				visible[i].kind = kindTool
			}
		}
	}
	if t.splitUTF8 {
		for i := 1; i+1 < len(visible); i += 5 {
			w := wide[i/5%len(wide)]
			visible[i] = token{tokenID(w + "\x00"), "", kindSilent}
			visible[i+1] = token{tokenID(w), w, visible[i+1].kind}
		}
	}
	for i := range rest {
		if i < t.silentFirst || i >= len(rest)-t.silentTokens || t.zeroTokens || t.silentEvery > 0 && (i+1)%t.silentEvery == 0 {
			rest[i].text, rest[i].kind = "", kindSilent
		}
	}
	if t.silentHidden {
		for i := range out {
			if out[i].kind == kindSilent {
				out[i].kind = kindHidden
			}
		}
	}
	return out
}

// event is a group of tokens that go out in one event. last is the number of its last token.
type event struct {
	kind string
	text string
	ids  []int32
	last int
}

// group puts tokens into events: the first one and the others of the asked sizes, a tool call in one, never two kinds of
// text in one.
func group(out []token, t Traps) []event {
	events := make([]event, 0, len(out))
	ids := make([]int32, 0, len(out)) // of all events, one after another
	var cur event
	size := max(t.firstEvent, 1)
	shut := func() {
		if len(cur.ids) > 0 {
			events = append(events, cur)
			size = max(t.tokensPerEvent, 1)
		}
		cur = event{}
	}
	for i, tok := range out {
		if tok.kind == kindHidden {
			continue
		}
		if len(cur.ids) > 0 && tok.kind != cur.kind && tok.kind != kindSilent && cur.kind != kindSilent {
			shut()
		}
		if len(cur.ids) == 0 || cur.kind == kindSilent {
			cur.kind = tok.kind
		}
		cur.text += tok.text
		ids = append(ids, tok.id)
		cur.ids = ids[len(ids)-1-len(cur.ids):]
		cur.last = i + 1
		if cur.kind != kindTool && len(cur.ids) >= size {
			shut()
		}
	}
	shut()
	return events
}

// delayOf is how much later than the timetable a write that goes with a token is made.
func delayOf(t Traps, tok int, r *random) time.Duration {
	var d time.Duration
	for _, s := range t.stalls {
		if tok >= s.token {
			d += s.for_
		}
	}
	if t.jitter > 0 {
		d += time.Duration(r.next() % uint64(t.jitter))
	}
	return d
}

// planner turns a completion into steps.
type planner struct {
	c     *completion
	t     Traps
	w     voice
	r     random
	zip   *gzip.Writer
	zbuf  *bytes.Buffer
	steps []step
	data  []byte // of the step being made; steps share one block of memory
	said  []Sent // likewise
	frame []byte // scratch
	holes []hole
}

// plan makes the steps of a streamed answer, and what of them is known beforehand into served.
func (c *completion) plan() []step {
	n := len(c.out) + 8
	p := &planner{
		c: c, t: c.traps, w: c.endpoint.speak(c), r: random(c.number),
		steps: make([]step, 0, n), data: make([]byte, 0, 320*n), said: make([]Sent, 0, n),
	}
	p.holes = p.w.holes()
	if p.t.gzip {
		p.zbuf = &bytes.Buffer{}
		p.zip = gzip.NewWriter(p.zbuf)
	}
	s := c.served
	stop, act, ended := c.stop()
	s.Ended = ended
	headers := c.header(http.StatusOK, p.w.contentType(), -1)
	role := p.w.opening()
	sent := false
	ahead := func(after int, d time.Duration) {
		if sent || c.traps.hang.set && stop == 0 {
			return
		}
		sent = true
		p.data = append(p.data, headers...)
		if p.t.comments || p.t.commentFirst {
			p.add(p.comment("processing"), Sent{Kind: kindComment})
		}
		if (p.t.comments || p.t.commentFirst) && !p.t.roleFirst.set {
			p.shut(0, 0, stay)
		}
		if role != nil {
			p.add(role, Sent{Kind: kindRole})
		}
		if p.t.roleFirst.set {
			if role == nil {
				p.said = append(p.said, Sent{Kind: kindHeaders})
			}
			p.shut(after, d, stay)
		}
	}
	if p.t.roleFirst.set {
		ahead(0, p.t.roleFirst.v)
	} else if p.t.comments || p.t.commentFirst {
		ahead(0, 0)
	}
	events := group(c.out, p.t)
	inWrite, done := 0, 0
	var late time.Duration
	var tail *event // the last event, where its frame is part of the ending
	for i, e := range events {
		if e.last > stop {
			break
		}
		if i+1 == len(events) && ended != "error" && act == stay && !c.hangs && p.w.joins() {
			tail = &events[i]
			if len(p.data) > 0 {
				p.shut(done, late, stay)
			}
			late = delayOf(p.t, e.last, &p.r)
			break
		}
		ahead(e.last, 0)
		if p.t.comments && i%4 == 3 {
			p.add(p.comment("keep-alive"), Sent{Kind: kindComment})
		}
		pad := 0
		if i == 1 {
			pad = p.t.longLine
		}
		late = delayOf(p.t, e.last, &p.r)
		p.frame = p.w.event(p.frame[:0], e, pad)
		frame := p.frame
		meta := Sent{Kind: e.kind, Tokens: len(e.ids), Text: p.w.said(e)}
		switch cuts := p.cuts(frame); {
		case len(cuts) > 0:
			p.split(frame, cuts, e.last, late, meta)
		default:
			p.add(frame, meta)
			if inWrite++; i == 0 || inWrite >= max(p.t.coalesce, 1) || i+1 == len(events) || events[i+1].last > stop {
				p.shut(e.last, late, stay)
				inWrite = 0
			}
		}
		if p.t.garbage.set && done < p.t.garbage.v && e.last >= p.t.garbage.v {
			p.add(p.w.garbage(), Sent{Kind: kindGarbage})
			p.shut(e.last, late, stay)
		}
		done = e.last
	}
	p.finish(stop, act, late, tail, func() { ahead(max(stop, 1), 0) })
	return p.steps
}

// finish makes what comes after the last token that is sent.
func (p *planner) finish(stop int, act action, late time.Duration, tail *event, ahead func()) {
	c, t := p.c, p.t
	at := max(stop, 1)
	switch {
	case c.hangs:
		return
	case act != stay:
		ahead()
		if act == cut {
			p.data = append(p.data, "80\r\n"+p.w.torn()...) // inside a chunk and inside an event
		}
		p.shut(at, late+cutPause, act)
		return
	case t.errorIn.set:
		ahead()
		p.add(p.w.failure("simulated failure of the backend"), Sent{Kind: kindError})
		p.endBody()
		p.shut(at, late, stay)
		return
	}
	ahead()
	if len(p.data) > 0 { // no token had an event
		p.shut(at, late, stay)
	}
	var said []Sent
	if tail != nil {
		said = append(said, Sent{Kind: tail.kind, Tokens: len(tail.ids), Text: p.w.said(*tail)})
	}
	said = append(said, Sent{Kind: kindFinish})
	if c.statesUsage() {
		said = append(said, Sent{Kind: kindUsage})
	}
	if !t.noDone {
		said = append(said, Sent{Kind: kindDone})
	}
	p.steps = append(p.steps, step{after: at, delay: late, events: said, late: func(j *job) []byte {
		for _, f := range p.w.ending(j.served, tail) {
			p.add(f, Sent{})
		}
		if !t.noDone {
			p.add(p.w.mark(j.served), Sent{})
		}
		p.endBody()
		return p.data
	}})
}

// stop is how many tokens are sent, and how the stream ends after them.
func (c *completion) stop() (n int, act action, ended string) {
	n, ended = len(c.out), "complete"
	t := c.traps
	if t.earlyStop.set && c.served.Finish == "stop" {
		ended = "early stop"
	}
	for _, o := range []struct {
		at    opt[int]
		act   action
		ended string
	}{{t.errorIn, stay, "error"}, {t.truncate, cut, "truncated"}, {t.reset, resetC, "reset"}, {t.hang, stay, "hung"}} {
		if o.at.set {
			n, act, ended = min(n, o.at.v), o.act, o.ended
		}
	}
	c.hangs = t.hang.set
	return n, act, ended
}

// add puts a frame into the step being made.
func (p *planner) add(frame []byte, s Sent) {
	if len(frame) == 0 {
		return
	}
	p.chunk(frame)
	if s.Kind != "" {
		p.said = append(p.said, s)
	}
}

func (p *planner) shut(after int, delay time.Duration, act action) {
	st := step{after: after, delay: delay, data: p.data, events: p.said, act: act}
	if len(p.holes) > 0 {
		st.late = filled(p.data, p.holes)
	}
	p.steps = append(p.steps, st)
	p.data, p.said = p.data[len(p.data):], p.said[len(p.said):]
}

// cuts are the places at which a frame is cut, if any.
func (p *planner) cuts(frame []byte) []int {
	if p.zip != nil {
		return nil
	}
	if p.t.splitUTF8 {
		for i, b := range frame {
			if b >= utf8.RuneSelf {
				return []int{i + 1}
			}
		}
	}
	if p.t.splitJSON {
		return []int{len(frame) / 3, len(frame) * 2 / 3}
	}
	return nil
}

func (p *planner) split(frame []byte, cuts []int, last int, delay time.Duration, meta Sent) {
	pause := min(splitPause, seconds(p.c.profile.work(len(p.c.prompt), 2)/4))
	from := 0
	for i, c := range append(cuts, len(frame)) {
		if i == len(cuts) {
			p.said = append(p.said, meta)
		}
		p.chunk(frame[from:c])
		p.shut(last, delay+time.Duration(i)*pause, stay)
		from = c
	}
}

func (p *planner) comment(text string) []byte {
	if own := p.c.dialect.comment; own != "" {
		text = own
	}
	return p.w.comment(text)
}

// chunk adds a part of the body, wrapped for the wire.
func (p *planner) chunk(b []byte) {
	if p.zip != nil {
		p.zbuf.Reset()
		_, _ = p.zip.Write(b)
		_ = p.zip.Flush()
		b = p.zbuf.Bytes()
	}
	p.data = appendChunk(p.data, b)
}

func appendChunk(to, b []byte) []byte {
	if len(b) == 0 {
		return to
	}
	to = strconv.AppendUint(to, uint64(len(b)), 16)
	to = append(to, "\r\n"...)
	to = append(to, b...)
	return append(to, "\r\n"...)
}

func (p *planner) endBody() {
	if p.zip != nil {
		p.zbuf.Reset()
		_ = p.zip.Close()
		p.data = appendChunk(p.data, p.zbuf.Bytes())
	}
	p.data = append(p.data, "0\r\n\r\n"...)
}

// whole makes the one step of an answer that is not streamed.
func (c *completion) whole() []step {
	stop, act, ended := c.stop()
	c.served.Ended = ended
	at := max(stop, 1)
	switch {
	case c.hangs:
		return nil
	case act != stay:
		return []step{{after: at, act: act}}
	}
	w := c.endpoint.speak(c)
	kind := Sent{Kind: kindBody, Tokens: stop}
	return []step{{after: at, events: []Sent{kind}, late: func(j *job) []byte {
		status, body := http.StatusOK, w.body(j.served, group(c.out[:stop], c.traps))
		if c.traps.errorIn.set {
			status = http.StatusInternalServerError
			body = c.dialect.refusal(refuse(status, "simulated failure of the backend", "server_error", status))
		}
		return append(c.header(status, "application/json", len(body)), body...)
	}}}
}

// header makes response headers; length below 0 means chunked.
func (c *completion) header(status int, contentType string, length int) []byte {
	var b strings.Builder
	writeHeader(&b, c.dialect.serverHeader(), status, contentType, length)
	if c.dialect.headers != nil {
		b.WriteString(c.dialect.headers(c.served.ID))
	}
	if c.traps.gzip && length < 0 {
		b.WriteString("Content-Encoding: gzip\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

func writeHeader(b *strings.Builder, server string, status int, contentType string, length int) {
	fmt.Fprintf(b, "HTTP/1.1 %d %s\r\nServer: %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n", status, http.StatusText(status), server, contentType)
	if length < 0 {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	} else {
		fmt.Fprintf(b, "Content-Length: %d\r\n", length)
	}
}
