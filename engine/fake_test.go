package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// fake is a backend in virtual time: a word is a token, prefill runs at 1,000 tokens a second after 10 ms, decode at 100,
// and a prefix cache works on words. What it gives is computed by hand in the tests.
type fake struct {
	clock *clock.Clock
	need  drivers.Need
	conf  *fakeConf

	mu   sync.Mutex
	seen [][]string
}

// fakeConf is what a test wants of the backend, and what it saw of it.
type fakeConf struct {
	contextMax int // of a session
	modelMax   int // of the model
	openErr    func(n int, need drivers.Need) error
	fail       func(req drivers.Request) error // instead of the stream
	slow       func(stream int) float64        // factor on decode time
	noCached   bool
	keepCache  bool // reuse although told not to
	early      int  // end after so many tokens
	key        string
	attached   bool
	running    int
	noTokens   bool

	mu      sync.Mutex
	opened  []drivers.Need
	streams int
	closed  int
	outputs []int
	prompts []string
}

func (c *fakeConf) spec() drivers.Spec {
	return drivers.Spec{Name: "fake", Title: "a backend in virtual time", Kind: drivers.Local, Open: func(_ context.Context, cfg drivers.Config, n drivers.Need) (drivers.Session, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.opened = append(c.opened, n)
		if c.openErr != nil {
			if err := c.openErr(len(c.opened), n); err != nil {
				return nil, err
			}
		}
		f := &fake{clock: cfg.Clock, need: n, conf: c}
		if c.noTokens {
			return plainFake{f}, nil
		}
		return f, nil
	}}
}

// plainFake hides the tokenizer.
type plainFake struct{ drivers.Session }

func (f *fake) Info() drivers.Info {
	return drivers.Info{
		Backend: "fake", Version: "1", URLKind: "loopback", Attached: f.conf.attached,
		Model:      drivers.Model{Ref: "/home/somebody/models/m.gguf", Path: "/home/somebody/models/m.gguf", Name: "m", Quant: "Q4_K_M", ContextMax: f.conf.modelMax},
		ContextMax: f.conf.contextMax, Parallel: f.need.Parallel, Template: 1, CacheBlock: 1, IgnoresEOS: true, ColdAsked: true,
	}
}

func words(p drivers.Prompt) []string {
	out := []string{"<begin>"}
	for _, t := range p.Tools {
		out = append(out, strings.Fields(t.Name+" "+t.Description)...)
	}
	for _, m := range p.Messages {
		out = append(out, strings.Fields(m.Content)...)
	}
	return out
}

func (f *fake) Tokenize(_ context.Context, p drivers.Prompt) ([]int32, error) {
	ws := words(p)
	ids := make([]int32, len(ws))
	for i, w := range ws {
		h := uint32(2166136261)
		for _, b := range []byte(w) {
			h = (h ^ uint32(b)) * 16777619
		}
		ids[i] = int32(h >> 1)
	}
	return ids, nil
}

func (f *fake) Activity(context.Context) (drivers.Activity, error) {
	return drivers.Activity{Running: f.conf.running}, nil
}

// cached is how many words a prompt shares with one before it.
func (f *fake) cached(ws []string, reuse bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	best := 0
	if reuse || f.conf.keepCache {
		for _, old := range f.seen {
			n := 0
			for n < min(len(old), len(ws)) && old[n] == ws[n] {
				n++
			}
			best = max(best, min(n, len(ws)-1))
		}
	}
	f.seen = append(f.seen, ws)
	return best
}

func (f *fake) Stream(ctx context.Context, req drivers.Request) (rec stream.Recording, err error) {
	f.conf.mu.Lock()
	n := f.conf.streams
	f.conf.streams++
	f.conf.outputs = append(f.conf.outputs, req.OutputTokens)
	f.conf.prompts = append(f.conf.prompts, req.Prompt.Messages[0].Content)
	f.conf.mu.Unlock()
	rec = stream.Recording{Protocol: "fake", Outcome: stream.Cut}
	ws := words(req.Prompt)
	c := f.cached(ws, req.Reuse)
	if req.Hold != nil {
		if rec.Sched, err = req.Hold(ctx); err != nil {
			return rec, err
		}
	}
	rec.Send = f.clock.Now() + 1
	if rec.Sched == 0 {
		rec.Sched = rec.Send
	}
	if f.conf.fail != nil {
		if err := f.conf.fail(req); err != nil {
			return rec, err
		}
	}
	sleep := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			rec.Outcome = stream.Canceled
			return context.Cause(ctx)
		}
	}
	if err := sleep(10*time.Millisecond + time.Duration(len(ws)-c)*time.Millisecond); err != nil {
		return rec, err
	}
	rec.FirstByte, rec.Status = f.clock.Now(), 200
	step := 10 * time.Millisecond
	if f.conf.slow != nil {
		step = time.Duration(float64(step) * f.conf.slow(n))
	}
	var data bytes.Buffer
	out := req.OutputTokens
	if f.conf.early > 0 {
		out = min(out, f.conf.early)
	}
	for i := range out {
		if i > 0 {
			if err := sleep(step); err != nil {
				return rec, err
			}
		}
		fmt.Fprintf(&data, "t w%d\n", i)
		rec.Reads = append(rec.Reads, stream.Read{End: data.Len(), At: f.clock.Now()})
	}
	fmt.Fprintf(&data, "end %d %d %d %s\n", len(ws), c, out, f.conf.key)
	rec.Reads = append(rec.Reads, stream.Read{End: data.Len(), At: f.clock.Now()})
	rec.Data, rec.End, rec.Outcome = data.Bytes(), f.clock.Now(), stream.Complete
	rec.Sent = map[string]string{"asked": strconv.Itoa(req.OutputTokens)}
	return rec, nil
}

func (f *fake) Decode(rec stream.Recording) (stream.Transcript, error) {
	var tr stream.Transcript
	for fr := range rec.Lines() {
		line := string(fr.Bytes)
		if w, ok := strings.CutPrefix(line, "t "); ok {
			tr.Events = append(tr.Events, stream.Event{At: fr.At, Read: fr.Read, Kind: stream.Content, Text: w, Tokens: 1})
			continue
		}
		var p, c, n int
		if _, err := fmt.Sscanf(line, "end %d %d %d", &p, &c, &n); err == nil {
			tr.Counts.Prompt, tr.Counts.Output = stream.Count{N: p, From: stream.Usage}, stream.Count{N: n, From: stream.Usage}
			if !f.conf.noCached {
				tr.Counts.Cached = stream.Count{N: c, From: stream.Usage}
			}
			tr.Finish = stream.FinishLength
			if strconv.Itoa(n) != rec.Sent["asked"] {
				tr.Finish = stream.FinishStop
			}
			return tr, nil
		}
	}
	return tr, drivers.ErrTruncated
}

func (f *fake) Close() error {
	f.conf.mu.Lock()
	defer f.conf.mu.Unlock()
	f.conf.closed++
	return nil
}
