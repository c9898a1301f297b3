package drivertest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Open opens a session of a driver to the server at url, with what change makes of an empty configuration, with room for one
// stream of 4,096 tokens. The session is closed when the test ends.
func Open(t *testing.T, spec drivers.Spec, url string, change ...func(*drivers.Config)) (drivers.Session, error) {
	t.Helper()
	return OpenFor(t, spec, url, drivers.Need{Context: 4096, Parallel: 1}, change...)
}

// OpenFor opens a session as Open does, with room for what need says.
func OpenFor(t *testing.T, spec drivers.Spec, url string, need drivers.Need, change ...func(*drivers.Config)) (drivers.Session, error) {
	t.Helper()
	c := drivers.Config{URL: url, Clock: clock.New(), Log: t.Logf, Env: func(string) string { return "" }, Options: map[string]string{}}
	for _, f := range change {
		if f != nil {
			f(&c)
		}
	}
	ses, err := spec.Open(t.Context(), c, need)
	if err == nil {
		t.Cleanup(func() { _ = ses.Close() })
	}
	return ses, err
}

// Streamed runs a request that has to end well, and decodes it.
func Streamed(t *testing.T, ses drivers.Session, r drivers.Request) (stream.Recording, stream.Transcript) {
	t.Helper()
	rec, err := ses.Stream(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := ses.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	return rec, tr
}

// Said is the transcript of a request that has to end well.
func Said(t *testing.T, ses drivers.Session, r drivers.Request) stream.Transcript {
	t.Helper()
	_, tr := Streamed(t, ses, r)
	return tr
}

// AtOnce runs requests whose bytes are sent at one moment, and decodes them. All have to end well.
func AtOnce(t *testing.T, ses drivers.Session, rs []drivers.Request) []stream.Transcript {
	t.Helper()
	gate := make(chan struct{})
	var held, all sync.WaitGroup
	held.Add(len(rs))
	trs := make([]stream.Transcript, len(rs))
	for i, r := range rs {
		all.Go(func() {
			sent := false
			r.Hold = func(context.Context) (time.Duration, error) { sent = true; held.Done(); <-gate; return 1, nil }
			rec, err := ses.Stream(t.Context(), r)
			if !sent { // it failed before, and the others do not wait for it
				held.Done()
			}
			if err != nil {
				t.Error(err)
				return
			}
			if trs[i], err = ses.Decode(rec); err != nil {
				t.Error(err)
			}
		})
	}
	held.Wait()
	close(gate)
	all.Wait()
	return trs
}

// Text is all text of a transcript.
func Text(tr stream.Transcript) string {
	var b strings.Builder
	for _, e := range tr.Events {
		b.WriteString(e.Text)
	}
	return b.String()
}
