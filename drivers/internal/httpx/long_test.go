package httpx

import (
	"bufio"
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
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestStreamOfHours runs the read path in virtual time, over a pipe in memory that stands in for a connection kept open:
// every stamp is exact, and no deadline fires that is longer than the gaps.
func TestStreamOfHours(t *testing.T) {
	const never = 1000 * time.Hour
	for _, c := range []struct {
		name        string
		wait, gap   time.Duration // before the first event; before each of the others
		events      int
		then        time.Duration // silence before the end of the body
		first, idle time.Duration
		said        string        // in the error; empty: none
		end         time.Duration // after t_send
	}{
		{"an hour, a token a second", time.Second, time.Second, 3600, 0, 10 * time.Second, 2 * time.Second, "", time.Hour},
		{"no limits", time.Second, time.Second, 3600, 0, 0, 0, "", time.Hour},
		{"gaps just inside the idle limit", time.Second, time.Hour - 10*time.Millisecond, 24, 0, 2 * time.Second, time.Hour, "", time.Second + 23*(time.Hour-10*time.Millisecond)},
		{"an hour until the first byte", time.Hour, time.Second, 60, 0, time.Hour + time.Second, 2 * time.Second, "", time.Hour + 59*time.Second},
		{"a minute until the end after an hour", time.Second, time.Second, 3600, time.Minute, 10 * time.Second, 2 * time.Minute, "", time.Hour + time.Minute},
		{"silence after an hour", time.Second, time.Second, 3600, never, 10 * time.Second, 30 * time.Second, "silence inside the stream within 30s", time.Hour + 30*time.Second},
		{"no first byte within an hour", never, time.Second, 1, 0, time.Hour, time.Second, "no byte of the answer within 1h0m0s", time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl, err := New("http://127.0.0.1:1", drivers.Secret{}, nil, clock.New())
				if err != nil {
					t.Fatal(err)
				}
				defer cl.Close()
				time.Sleep(time.Second) // no stamp is 0
				here, there := net.Pipe()
				cl.keep(&conn{Conn: here, how: stream.Conn{Proto: "HTTP/1.1"}})
				gone := make(chan struct{})
				asked := make(chan *bufio.Reader, 1)
				go func() {
					defer there.Close()
					br := bufio.NewReader(there)
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					asked <- br
					pause := func(d time.Duration) bool {
						select {
						case <-gone:
							return false
						case <-time.After(d):
							return true
						}
					}
					if !pause(c.wait) {
						return
					}
					said := chunkedHead
					for i := range c.events {
						if i > 0 && !pause(c.gap) {
							return
						}
						data := fmt.Sprintf("data: %06d\n\n", i)
						said += fmt.Sprintf("%x\r\n%s\r\n", len(data), data)
						if _, err := io.WriteString(there, said); err != nil {
							return
						}
						said = ""
					}
					if c.then == 0 || pause(c.then) {
						_, _ = io.WriteString(there, "0\r\n\r\n")
					}
				}()
				go func() {
					br := <-asked
					_, _ = br.Peek(1) // ends when the client hangs up
					close(gone)
				}()
				p := post
				p.Request.FirstByteWithin, p.Request.IdleWithin = c.first, c.idle
				rec, err := cl.Stream(t.Context(), p)
				cl.Close()
				if c.said == "" && (err != nil || rec.Outcome != stream.Complete) {
					t.Fatalf("%s: %v", rec.Outcome, err)
				}
				if c.said != "" && (!errors.Is(err, drivers.ErrTimeout) || rec.Outcome != stream.Deadline || !strings.Contains(rec.Fault, c.said)) {
					t.Errorf("%s: %v", rec.Outcome, err)
				}
				if took := rec.End - rec.Send; took < c.end || took > c.end+tick {
					t.Errorf("took %v, want %v", took, c.end)
				}
				if !rec.Conn.Reused || rec.ReadLag != 0 {
					t.Errorf("reused %v, read lag %v", rec.Conn.Reused, rec.ReadLag)
				}
				want := c.events
				if c.wait == never {
					want = 0
				}
				if len(rec.Reads) != want || strings.Count(string(rec.Data), "\n\n") != want {
					t.Fatalf("%d reads, %d bytes, want %d reads", len(rec.Reads), len(rec.Data), want)
				}
				for i, r := range rec.Reads {
					if at := c.wait + time.Duration(i)*c.gap; r.At-rec.Send != at || r.End != (i+1)*len("data: 000000\n\n") {
						t.Fatalf("read %d: %d bytes at %v, want %d at %v", i, r.End, r.At-rec.Send, (i+1)*len("data: 000000\n\n"), at)
					}
				}
			})
		})
	}
}
