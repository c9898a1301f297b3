package oracletest

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/oracle"
)

// server is an HTTP/1.1 server that writes given bytes at given moments, and notes when it really did. It answers what the
// drivers ask when they open, and a short stream as long as no case is laid on.
type server struct {
	url   string
	props string // what GET /props answers; empty: nothing
	clock *clock.Clock
	l     net.Listener
	done  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	next  *play
}

// play is a case on its way.
type play struct {
	c       *oracle.Case
	scale   float64         // of its timetable
	moments []time.Duration // of the writes, after the request was there
	streams int             // requests that it got
	over    chan struct{}
}

func newServer(t *testing.T, c *clock.Clock, props string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + l.Addr().String(), props: props, clock: c, l: l, conns: map[net.Conn]bool{}}
	s.done.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.hangUp()
		s.done.Wait()
	})
	return s
}

func (s *server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Go(func() {
			s.serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// hangUp closes every connection that is open.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// lay makes a case the answer to the next stream.
func (s *server) lay(p *play) {
	p.moments, p.over = make([]time.Duration, len(p.c.Writes)), make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = p
}

// lift takes the case away again; what is streamed then is part of no case.
func (s *server) lift() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = nil
}

// answers to what the drivers ask when they open; short streams too.
var answers = map[string]string{
	"GET /health":                            `{"status":"ok"}`,
	"GET /v1/models":                         `{"object":"list","data":[{"id":"m","owned_by":"someone"}]}`,
	"POST /apply-template":                   `{"prompt":"<s>read_file contents"}`,
	"POST /v1/chat/completions/input_tokens": `{"input_tokens":9}`,
	"POST /tokenize":                         `{"tokens":[1,2,3,4,5,6,7,8,9]}`,
}

// propsAnswers differ between the servers that one of these can be.
var propsAnswers = map[oracle.Protocol]string{
	oracle.LlamaCpp: `{"default_generation_settings":{"n_ctx":8192},"total_slots":2,"model_alias":"m","model_path":"/models/m.gguf","build_info":"b1-x","chat_template":"{{ messages }}"}`,
	oracle.Sim:      `{"simulated":true,"model":"m","n_ctx":100000,"total_slots":4,"accepts_usage":true}`,
}

const (
	chatAnswer = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n" +
		"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n" +
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n"
	llamaAnswer = "data: {\"content\":\"a\",\"stop\":true,\"stop_type\":\"limit\",\"tokens_predicted\":1,\"tokens_evaluated\":9}\n\n"
)

func (s *server) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if _, err = io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		there := s.clock.Now()
		route := r.Method + " " + r.URL.Path
		stream := ""
		switch route {
		case "POST /v1/chat/completions", "POST /v1/completions":
			stream = chatAnswer
		case "POST /completion":
			stream = llamaAnswer
		}
		s.mu.Lock()
		p := s.next
		if stream != "" && p != nil {
			p.streams++
		}
		s.mu.Unlock()
		switch {
		case stream != "" && p != nil && p.streams == 1:
			again := s.play(c, p, there)
			close(p.over)
			if !again {
				return
			}
		case stream != "":
			_, err = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(stream), stream)
		default:
			err = s.plain(c, route)
		}
		if err != nil {
			return
		}
	}
}

func (s *server) plain(c net.Conn, route string) error {
	status, body := 200, answers[route]
	if route == "GET /props" {
		body = s.props
	}
	if body == "" {
		status, body = 404, `{"error":{"message":"nothing here","code":404}}`
	}
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), len(body), body)
	return err
}

// play serves a case; false means that the connection is over. The timetable is absolute, so that one late write makes no
// other late; what is late all the same is noted as it was.
func (s *server) play(c net.Conn, p *play, there time.Duration) bool {
	until := func(at time.Duration) {
		if d := there + time.Duration(p.scale*float64(at)) - s.clock.Now(); d > 0 {
			time.Sleep(d)
		}
	}
	k := p.c
	status := k.Status
	if status == 0 {
		status = 200
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nContent-Type: text/event-stream\r\n", status, http.StatusText(status))
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
		data := framed(k, i)
		until(w.At)
		p.moments[i] = s.clock.Now() - there
		if _, err := io.WriteString(c, data); err != nil {
			return false
		}
		if len(data) > 64<<10 {
			p.moments[i] = s.clock.Now() - there // its last byte, which completes the event, was long in coming
		}
	}
	switch {
	case k.End == oracle.Reset:
		_ = c.(*net.TCPConn).SetLinger(0)
		return false
	case k.End == oracle.Cut, k.Framing == oracle.UntilClose:
		return false
	case k.Framing != oracle.Length:
		if _, err := io.WriteString(c, "0\r\n\r\n"); err != nil {
			return false
		}
	}
	return true
}

// framed is write i of a case as it goes over the wire.
func framed(k *oracle.Case, i int) string {
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
