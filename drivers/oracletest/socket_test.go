package oracletest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/drivers/llamacpp"
	"github.com/llm-speed/llm-speed/drivers/openaicompat"
	"github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// tries is how often a case is served until its figures are right once: other programs on the machine make single ones
// late, a client that is wrong is wrong each time.
const tries = 5

// longest is how long a case takes over a socket; longer timetables are run faster.
const longest = 200 * time.Millisecond

// bench is a server and a session of each driver's.
type bench struct {
	srv *server
	ses drivers.Session
}

func open(t *testing.T, p oracle.Protocol) bench {
	t.Helper()
	spec, options := openaicompat.Spec(), map[string]string{}
	switch p {
	case oracle.Completions:
		options["endpoint"] = "completions"
	case oracle.LlamaCpp:
		spec = llamacpp.Spec()
	case oracle.Sim:
		spec = sim.Spec()
	}
	clk := clock.New()
	srv := newServer(t, propsAnswers[p])
	ses, err := spec.Open(t.Context(), drivers.Config{URL: srv.url, Options: options, Env: func(string) string { return "" }, Clock: clk, Log: t.Logf}, drivers.Need{Context: 2048, Parallel: 1})
	if err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	return bench{srv, ses}
}

func request(c *oracle.Case) drivers.Request {
	return drivers.Request{Prompt: drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: "Tell me about lakes."}}},
		OutputTokens: c.Asked.Output, Reuse: c.Asked.Reuse, Slot: drivers.AnySlot, FirstByteWithin: 10 * time.Second, IdleWithin: 10 * time.Second}
}

// serve plays a case once, in no more time than given, and gives what was measured beside what was true.
func (b bench) serve(t *testing.T, c *oracle.Case, within time.Duration) (measure.Sample, stream.Transcript, oracle.Truth, error) {
	t.Helper()
	if _, err := b.ses.Stream(t.Context(), request(c)); err != nil { // leaves a connection open
		t.Fatal(err)
	}
	if c.Expired {
		b.srv.hangUp()
		time.Sleep(10 * time.Millisecond)
	}
	p := &play{Play: drivertest.PlayWithin(c, within)}
	b.srv.lay(p)
	rec, err := b.ses.Stream(t.Context(), request(c))
	b.srv.lift()
	select {
	case <-p.Over:
	case <-time.After(10 * time.Second):
		t.Fatalf("no stream was asked for: %v", err)
	}
	tr, derr := b.ses.Decode(rec)
	if derr != nil {
		err = derr
	}
	if p.streams != 1 {
		t.Errorf("%d requests for one stream", p.streams)
	}
	if rec.Conn.Reused == c.Expired {
		t.Errorf("connection reused: %v", rec.Conn.Reused)
	}
	return measure.Request(rec, tr, judge.Asked(c, err)), tr, c.Truth(p.Moments), err
}

// timedBytes is the size above which a stream's figures are not held to the server's stamps: its bytes take time to cross
// the socket, which is neither the server's nor the client's fault. Counts and texts are held all the same.
const timedBytes = 1 << 20

func bytesOf(c *oracle.Case) int {
	n := 0
	for i := range c.Writes {
		n += len(c.Writes[i].Data)
	}
	return n
}

// TestSockets serves every case over a TCP connection to the driver's own session. Counts and texts are right each time;
// the figures are compared with what the server did when, by its own stamps, but for the race detector, which makes the client
// several times slower.
func TestSockets(t *testing.T) {
	benches := map[oracle.Protocol]bench{}
	for _, c := range oracle.Cases() {
		if _, is := benches[c.Protocol]; !is {
			benches[c.Protocol] = open(t, c.Protocol)
		}
		b := benches[c.Protocol]
		t.Run(c.Name, func(t *testing.T) {
			within := longest
			if c.Want.Stalls.X > 0 {
				within = time.Second // a stall has a length of its own
			}
			wrong := map[string]string{"": "never served"} // by figure, what is wrong with its best try
			for range tries {
				s, tr, truth, err := b.serve(t, &c, within)
				sameWords(t, judge.WantWords(&c), judge.WordsOf(&s, &tr))
				if w := judge.WrongError(&c, err); w != "" {
					t.Error(w)
				}
				if t.Failed() || raceDetector || bytesOf(&c) > timedBytes {
					return
				}
				now := map[string]string{"flags": judge.WrongFlags(&c, &s)}
				for _, f := range judge.Figures(&c, &s, &truth) {
					now[f.Name] = f.Wrong(false)
				}
				if first := wrong[""] != ""; first {
					wrong = now
				}
				for name, w := range now {
					if w == "" || c.Close && !strings.HasPrefix(name, "ttf") {
						delete(wrong, name)
					}
				}
				if len(wrong) == 0 {
					return
				}
			}
			for _, w := range wrong {
				t.Errorf("%d tries: %s", tries, w)
			}
		})
	}
}

// TestSocketPairs holds the client's own prefill rate to 5 %.
func TestSocketPairs(t *testing.T) {
	b := open(t, oracle.Chat)
	for _, p := range oracle.Pairs() {
		t.Run(p.Name, func(t *testing.T) {
			var wrong string
			for range tries {
				long, _, lt, err := b.serve(t, &p.Long, time.Second)
				if err != nil {
					t.Fatal(err)
				}
				probe, _, pt, err := b.serve(t, &p.Probe, time.Second)
				if err != nil {
					t.Fatal(err)
				}
				want := p.Prefill
				if want.Why == "" {
					want.X = float64(p.Long.Want.Prompt.N-p.Probe.Want.Prompt.N) / (lt.TTFT - pt.TTFT) * 1000
				}
				if raceDetector {
					return
				}
				wrong = judge.Figure{Name: "prefill", Got: measure.PrefillEstimate(&long, &probe), Want: want, Share: 0.05}.Wrong(false)
				if wrong == "" {
					return
				}
			}
			t.Error(fmt.Sprintf("%d tries: ", tries) + wrong)
		})
	}
}
