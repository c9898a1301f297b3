package oracletest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/oracle"
)

// server is an HTTP/1.1 server that writes given bytes at given moments, and notes when it really did. It answers what the
// drivers ask when they open, and a short stream as long as no case is laid on.
type server struct {
	url   string
	props string // what GET /props answers; empty: nothing
	l     net.Listener
	done  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	next  *play
}

// play is a case on its way.
type play struct {
	*drivertest.Play
	streams int // requests that it got
}

func newServer(t *testing.T, props string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + l.Addr().String(), props: props, l: l, conns: map[net.Conn]bool{}}
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
		there := time.Now()
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
			if !p.Serve(c, there) {
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
