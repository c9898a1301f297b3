package drivertest

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/oracle"
)

// Play is a case of package oracle on its way over a socket.
type Play struct {
	Case    *oracle.Case
	Scale   float64         // of its timetable
	Moments []time.Duration // when each write was made, after the request was there; read it when Over is closed
	Over    chan struct{}
}

// closest is how close two writes with text may come: sleeping is no finer than about a millisecond.
const closest = 1400 * time.Microsecond

// NewPlay lays a case out to take no more time than given, as far as its writes do not come too close to each other then.
func NewPlay(c *oracle.Case, within time.Duration) *Play {
	p := PlayWithin(c, within)
	before := time.Duration(-1)
	for _, w := range c.Writes {
		if len(w.Marks) == 0 {
			continue
		}
		if gap := w.At - before; before >= 0 && w.Marks[0].Kind != oracle.Silent {
			p.Scale = min(1, max(p.Scale, float64(closest)/float64(gap)))
		}
		before = w.At
	}
	return p
}

// PlayWithin lays a case out to take no more time than given.
func PlayWithin(c *oracle.Case, within time.Duration) *Play {
	p := &Play{Case: c, Scale: 1, Moments: make([]time.Duration, len(c.Writes)), Over: make(chan struct{})}
	if last := c.Writes[len(c.Writes)-1].At; last > within {
		p.Scale = float64(within) / float64(last)
	}
	return p
}

// Serve writes the answer to a request that was there at the moment given; false means that the connection is over. The timetable is absolute, so that one late write makes no
// other late; what is late all the same is noted as it was.
func (p *Play) Serve(c net.Conn, there time.Time) bool {
	defer close(p.Over)
	k := p.Case
	until := func(at time.Duration) {
		if d := time.Duration(p.Scale*float64(at)) - time.Since(there); d > 0 {
			time.Sleep(d)
		}
	}
	status := k.Status
	if status == 0 {
		status = http.StatusOK
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if k.Header["Content-Type"] == "" {
		head.WriteString("Content-Type: text/event-stream\r\n")
	}
	for _, name := range slices.Sorted(maps.Keys(k.Header)) {
		fmt.Fprintf(&head, "%s: %s\r\n", name, k.Header[name])
	}
	switch k.Framing {
	case oracle.Chunked, oracle.OneChunk, oracle.Crumbs:
		head.WriteString("Transfer-Encoding: chunked\r\n")
	case oracle.UntilClose:
		head.WriteString("Connection: close\r\n")
	case oracle.Length:
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(k.Body()))
	}
	until(k.HeadAt)
	if _, err := io.WriteString(c, head.String()+"\r\n"); err != nil {
		return false
	}
	for i, w := range k.Writes {
		data := p.framed(i)
		until(w.At)
		p.Moments[i] = time.Since(there)
		if _, err := io.WriteString(c, data); err != nil {
			return false
		}
		if len(data) > 64<<10 {
			p.Moments[i] = time.Since(there) // its last byte, which completes the event, was long in coming
		}
	}
	switch {
	case k.End == oracle.Reset:
		time.Sleep(20 * time.Millisecond) // let the client read what was sent: a reset may overtake it
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return false
	case k.End == oracle.Cut, k.Framing == oracle.UntilClose:
		return false
	case k.Framing != oracle.Length:
		_, err := io.WriteString(c, "0\r\n\r\n")
		return err == nil
	}
	return true
}

// framed is write i of the case as it goes over the wire.
func (p *Play) framed(i int) string {
	k := p.Case
	data := k.Writes[i].Data
	switch k.Framing {
	case oracle.Chunked:
		return fmt.Sprintf("%x\r\n%s\r\n", len(data), data)
	case oracle.OneChunk:
		if i == 0 {
			data = fmt.Sprintf("%x\r\n", len(k.Body())) + data
		}
		if i == len(k.Writes)-1 {
			data += "\r\n"
		}
	case oracle.Crumbs:
		var b strings.Builder
		for crumb := range slices.Chunk([]byte(data), 7) {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(crumb), crumb)
		}
		return b.String()
	}
	return data
}
