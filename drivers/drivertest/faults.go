package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// openAt opens a session to a server under a deadline.
func (s *Suite) openAt(t *testing.T, url, model string, within time.Duration) (drivers.Session, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c := s.config(t, url, clock.New())
	if model != "" {
		c.Model = model
	}
	ses, err := s.Spec.Open(ctx, c, drivers.Need{Context: 4096, Parallel: 1})
	if err == nil {
		t.Cleanup(func() { _ = ses.Close() })
	}
	noKey(t, err)
	return ses, err
}

// checkMissing asks for a model that is not there, by a name that is nearly that of one that is.
func checkMissing(t *testing.T, s *Suite) {
	b := s.open(t)
	name := b.ses.Info().Model.Name
	if name == "" {
		name = b.ses.Info().Model.Ref
	}
	ses, err := s.openAt(t, b.srv.URL, name+"x", 20*time.Second)
	if err == nil {
		t.Fatalf("opened %q where there is only %q", name+"x", ses.Info().Model.Ref)
	}
	if !errors.Is(err, drivers.ErrModelNotFound) || !strings.Contains(strings.ReplaceAll(err.Error(), name+"x", ""), name) {
		t.Errorf("the error does not say that the model is not found and name the close one, %q: %v", name, err)
	}
}

// checkChange lets another model answer in the middle. A server of one's own that does so is not what is measured any more.
func checkChange(t *testing.T, s *Suite) {
	b := s.open(t)
	_, tr, err, _ := b.run(t.Context(), t, Script{Writes: s.Good}, Ask())
	if err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintf("%q", tr.Model)
	if tr.Model == "" || !strings.Contains(strings.Join(s.Good, ""), said) || s.Spec.Kind != drivers.Local {
		return // the stream does not say who answers, or a service names its own versions
	}
	other := slices.Clone(s.Good)
	for i := range other {
		other[i] = strings.ReplaceAll(other[i], said, `"quite-another-model"`)
	}
	if _, _, err, derr := b.run(t.Context(), t, Script{Writes: other}, Ask()); err == nil && !errors.Is(derr, drivers.ErrModelNotFound) {
		t.Errorf("another model answered, and the sample was taken: %v", derr)
	}
}

// checkRestart ends the server under an open session, and starts it again on the same port.
func checkRestart(t *testing.T, s *Suite) {
	b := s.open(t)
	if _, _, err, derr := b.run(t.Context(), t, Script{Writes: s.Good}, Ask()); err != nil || derr != nil {
		t.Fatal(err, derr)
	}
	b.srv.Close()
	began := time.Now()
	rec, err := b.ses.Stream(t.Context(), Ask())
	if err == nil || !errors.Is(err, drivers.ErrUnreachable) && !errors.Is(err, drivers.ErrReset) {
		t.Errorf("a stream to a server that is gone: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to find out that the server is gone", took)
	}
	if _, err := b.ses.Decode(rec); err == nil {
		t.Error("the recording of a stream that never was decodes well")
	}
	again := s.restart(t, b.srv)
	again.Play(s.Stream, Script{Writes: s.Good})
	rec, err = b.ses.Stream(t.Context(), Ask())
	if err != nil {
		t.Fatalf("the stream after the server is back: %v", err)
	}
	if got, err := b.ses.Decode(rec); err != nil || Text(got) != s.Text || rec.Outcome != stream.Complete {
		t.Errorf("the stream after the server is back: %v, %q", err, Text(got))
	}
}

// restart starts a server on the port of one that was closed.
func (s *Suite) restart(t *testing.T, old *Server) *Server {
	t.Helper()
	var l net.Listener
	var err error
	for range 50 {
		if l, err = net.Listen("tcp", strings.TrimPrefix(old.URL, "http://")); err == nil {
			return serveOn(t, l, s.Answers)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the port is not free again: %v", err)
	return nil
}

// oddAnswers are what a server of another version, a proxy, or another kind of server may say.
var oddAnswers = map[string]Script{
	"empty body":         JSON(""),
	"null":               JSON("null"),
	"an empty object":    JSON("{}"),
	"an empty list":      JSON("[]"),
	"a list of nothing":  JSON(`[null,{},"x",1]`),
	"cut JSON":           JSON(`{"version":"9.9.9","data":[{"id":"m"`),
	"other types":        JSON(`{"version":9.9,"data":{"id":[]},"models":"many","model":7,"tokens":"none","count":"x","object":[],"total_slots":"two","status":["ok"]}`),
	"huge numbers":       JSON(`{"version":"99999999999.1e400","data":[{"id":"m","max_model_len":1e300,"context_length":-5,"size":9223372036854775808}],"tokens":[1e300,-1],"count":-9e99,"models":[{"name":"m","size":1e400}]}`),
	"a page":             {Header: map[string]string{"Content-Type": "text/html"}, Writes: []string{"<!doctype html><html><body>It works!</body></html>"}},
	"not found":          {Status: 404, Writes: []string{"404 page not found"}},
	"no such method":     {Status: 405, Header: map[string]string{"Content-Type": "application/json"}, Writes: []string{`{"detail":"Method Not Allowed"}`}},
	"an internal error":  {Status: 500, Writes: []string{strings.Repeat("Traceback ", 2000)}},
	"a redirect":         {Status: 307, Header: map[string]string{"Location": "http://127.0.0.1:9/elsewhere"}},
	"a body that is cut": {Header: map[string]string{"Content-Type": "application/json"}, Writes: []string{`{"data":[`}, End: Cut},
}

// checkOdd answers each question that the driver asks outside of streams with something odd. Open then fails with an error in
// plain words, or gives a session that works; it never panics, hangs, or believes nonsense.
func checkOdd(t *testing.T, s *Suite) {
	for _, route := range slices.Sorted(maps.Keys(s.Answers)) {
		for _, odd := range slices.Sorted(maps.Keys(oddAnswers)) {
			t.Run(route+", "+odd, func(t *testing.T) {
				t.Parallel()
				srv := NewServer(t, s.Answers)
				srv.Play(s.Stream, Script{Writes: s.Good})
				srv.Play(route, oddAnswers[odd])
				const within = 3 * time.Second
				began := time.Now()
				ses, err := s.openAt(t, srv.URL, "", within)
				if took := time.Since(began); took > within+2*time.Second {
					t.Errorf("open took %v under a deadline of %v", took, within)
				}
				if err != nil {
					if text := err.Error(); text == "" || len(text) > 3000 || strings.Contains(text, "json: cannot unmarshal") {
						t.Errorf("an error that helps nobody: %.300s", text)
					}
					return
				}
				if i := ses.Info(); i.ContextMax < 0 || i.Parallel < 0 || i.CacheBlock < 0 || i.Model.SizeBytes < 0 || i.Model.ContextMax < 0 {
					t.Errorf("info: %+v", i)
				}
				if route == s.Stream {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				rec, err := ses.Stream(ctx, Ask())
				if err == nil {
					_, err = ses.Decode(rec)
				}
				noKey(t, err)
			})
		}
	}
}
