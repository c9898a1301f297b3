package httpx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// TestJSONHasADeadline calls a server that takes requests and never answers, in time that costs nothing.
func TestJSONHasADeadline(t *testing.T) {
	for _, c := range []struct {
		name, method string
		in           any
		callers      time.Duration // the caller's own deadline; 0: none
		half         bool          // the header comes, and half of the body
		want         time.Duration
	}{
		{"a question", http.MethodGet, nil, 0, false, 10 * time.Second},
		{"a body that does not end", http.MethodGet, nil, 0, true, 10 * time.Second},
		{"a short body", http.MethodPost, map[string]int{"a": 1}, 0, false, 30 * time.Second},
		{"a long body", http.MethodPost, strings.Repeat("x", 320<<10), 0, false, 40 * time.Second},
		{"the caller's is earlier", http.MethodGet, nil, 2 * time.Second, false, 2 * time.Second},
		{"the caller's is later", http.MethodGet, nil, time.Hour, false, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := client(t, "http://host")
				var far []net.Conn
				cl.plain.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
					near, other := net.Pipe()
					far = append(far, other)
					go func() {
						br := bufio.NewReader(other)
						if _, ok := take(br); ok && c.half {
							_, _ = io.WriteString(other, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
						}
						_, _ = io.Copy(io.Discard, br)
					}()
					return near, nil
				}
				ctx := t.Context()
				if c.callers > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.callers)
					defer cancel()
				}
				began := time.Now()
				_, err := cl.JSON(ctx, c.method, "/x", c.in, nil)
				if took := time.Since(began).Round(time.Second); took != c.want {
					t.Errorf("gave up after %v, want %v", took, c.want)
				}
				if want := fmt.Sprintf("%s /x: no answer within %s", c.method, c.want); !errors.Is(err, drivers.ErrTimeout) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
				for _, k := range far {
					_ = k.Close()
				}
				cl.Close()
			})
		})
	}
}

// TestJSONIsReplayed has a server close a kept connection right after it has read the next request.
func TestJSONIsReplayed(t *testing.T) {
	bodies := make(chan string, 8)
	cl := client(t, serve(t, func(n int, k *net.TCPConn, br *bufio.Reader) {
		for i := 0; ; i++ {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			b, _ := io.ReadAll(r.Body)
			if v, is := r.Header["Idempotency-Key"]; is {
				t.Errorf("a header was sent that was for net/http alone: %q", v)
			}
			if n == 0 && i == 1 {
				_ = k.SetLinger(0) // a reset
				return
			}
			bodies <- string(b)
			_, _ = io.WriteString(k, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	}))
	for i := range 2 {
		if _, err := cl.JSON(t.Context(), http.MethodPost, "/tokenize", map[string]int{"n": i}, nil); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if a, b := <-bodies, <-bodies; a != `{"n":0}` || b != `{"n":1}` {
		t.Errorf("bodies %s and %s", a, b)
	}
}

// TestStreamIsNeverReplayed has the same happen to a stream.
func TestStreamIsNeverReplayed(t *testing.T) {
	asked := make(chan int, 8)
	cl := client(t, serve(t, func(n int, k *net.TCPConn, br *bufio.Reader) {
		for i := 0; ; i++ {
			if _, ok := take(br); !ok {
				return
			}
			asked <- n
			if i == 1 {
				return
			}
			_, _ = io.WriteString(k, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	}))
	if _, err := cl.Stream(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Stream(t.Context(), post); !errors.Is(err, drivers.ErrReset) {
		t.Errorf("got %v", err)
	}
	if len(asked) != 2 {
		t.Errorf("%d requests for two streams", len(asked))
	}
}

// TestErrorsHideSecrets has a server repeat what it was sent.
func TestErrorsHideSecrets(t *testing.T) {
	url := serve(t, func(_ int, k *net.TCPConn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		said := `{"error":"no user bob:hunter22 (hunter22), header ` + r.Header.Get("Authorization") + `"}`
		_, _ = fmt.Fprintf(k, "HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
	})
	c, err := New(strings.Replace(url, "//", "//bob:hunter22@", 1), drivers.Secret{}, nil, clock.New())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.JSON(t.Context(), http.MethodGet, "/x", nil, nil)
	if !errors.Is(err, drivers.ErrAuth) || !strings.Contains(err.Error(), "no user *** (***), header Basic ***") {
		t.Errorf("got %v", err)
	}
}

func TestBeside(t *testing.T) {
	for base, want := range map[string]string{
		"http://h:1": "http://h:1", "http://h:1/v1": "http://h:1", "h:1/v1/": "http://h:1", "http://h/api/v1": "http://h",
		"http://h/gateway/v1": "http://h/gateway", "http://h/v1/v1": "http://h/v1", "http://h/v10": "http://h/v10", "http://h//v1": "http://h",
	} {
		c, err := New(base, drivers.Secret{}, nil, clock.New(), Beside("/api/v1", "/v1"))
		if err != nil || c.Base() != want {
			t.Errorf("%s: base %v, %v; want %s", base, c, err, want)
		}
	}
}
