package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Run runs every check as a subtest.
func Run(t *testing.T, s Suite) {
	for _, c := range []struct {
		name  string
		check func(*testing.T, *Suite)
	}{
		{"request", checkRequest}, {"text and counts", checkText}, {"any chunking", checkChunking},
		{"decode is pure", checkPure}, {"no end mark", checkNoEnd}, {"cut", checkCut}, {"reset", checkReset},
		{"error in the stream", checkFailure}, {"status", checkStatus}, {"cancel", checkCancel}, {"deadlines", checkDeadlines},
		{"hold", checkHold}, {"at once", checkAtOnce}, {"close", checkClose}, {"abilities", checkCaps}, {"info", checkInfo},
		{"unreachable", checkUnreachable}, {leakCheck, checkLeak},
		{"what the spec declares", checkAble}, {"cold and reused", checkReuse}, {"a model that is not there", checkMissing}, {"another model answers", checkChange},
		{"the server restarts", checkRestart}, {"odd answers", checkOdd}, {"fixtures", checkFixtures}, {"oracle", checkOracle},
	} {
		if c.name == leakCheck { // it counts goroutines: no suite that runs in parallel may start any meanwhile
			alone.Lock()
			t.Run(c.name, func(t *testing.T) { c.check(t, &s) })
			alone.Unlock()
			continue
		}
		alone.RLock()
		t.Run(c.name, func(t *testing.T) { c.check(t, &s) })
		alone.RUnlock()
	}
}

const leakCheck = "nothing left behind"

// alone is held by the check that must run alone.
var alone sync.RWMutex

// checkRequest holds what is sent to a golden file, and the key to the one header that needs it.
func checkRequest(t *testing.T, s *Suite) {
	b := s.open(t)
	before := len(b.srv.Requests(s.Stream))
	if _, _, err, _ := b.run(t.Context(), t, Script{Writes: s.Good}, Ask()); err != nil {
		t.Fatal(err)
	}
	got := b.srv.Requests(s.Stream)
	if len(got) != before+1 {
		t.Fatalf("one stream made %d requests", len(got)-before)
	}
	r := got[before]
	if e := r.Header.Get("Accept-Encoding"); e != "identity" {
		t.Errorf("Accept-Encoding is %q, want identity", e)
	}
	header, want := "Authorization", "Bearer "+key
	if s.KeyIn != "" {
		header, want = s.KeyIn, key
	}
	if r.Header.Get(header) != want {
		t.Errorf("the key was not sent")
	}
	if bytes.Contains(r.Body, []byte(key)) {
		t.Error("the key is in the request's body")
	}
	if s.Golden != "" {
		golden(t, s.Golden, s.Update, r.Body)
	}
}

func checkText(t *testing.T, s *Suite) {
	b := s.open(t)
	rec, got, err, derr := b.run(t.Context(), t, Script{Writes: s.Good, Pause: 3 * time.Millisecond}, Ask())
	if err != nil || derr != nil {
		t.Fatalf("stream: %v, decode: %v", err, derr)
	}
	if Text(got) != s.Text {
		t.Errorf("text is %q, want %q", Text(got), s.Text)
	}
	if diff := cmp.Diff(s.Counts, got.Counts); diff != "" {
		t.Errorf("counts: %s", diff)
	}
	if rec.Outcome != stream.Complete || rec.Status != 200 || len(rec.Reads) < 2 {
		t.Errorf("outcome %s, status %d, %d reads", rec.Outcome, rec.Status, len(rec.Reads))
	}
	last := rec.Send
	for _, at := range append([]time.Duration{rec.FirstByte}, times(rec.Reads)...) {
		if at < last {
			t.Fatalf("stamps go back: send %v, first byte %v, reads %v", rec.Send, rec.FirstByte, times(rec.Reads))
		}
		last = at
	}
	if rec.Send <= 0 || rec.Sched > rec.Send || rec.End < last {
		t.Errorf("sched %v, send %v, last read %v, end %v", rec.Sched, rec.Send, last, rec.End)
	}
	if len(got.Events) < 2 {
		t.Fatalf("%d events, want two at least", len(got.Events))
	}
	if a, z := got.Events[0], got.Events[len(got.Events)-1]; a.At == z.At || a.Read == z.Read {
		t.Error("events that were written milliseconds apart have one stamp")
	}
}

func times(reads []stream.Read) []time.Duration {
	var at []time.Duration
	for _, r := range reads {
		at = append(at, r.At)
	}
	return at
}

// checkChunking cuts the same body in other places, on the wire and in the recording: nothing but stamps may change.
func checkChunking(t *testing.T, s *Suite) {
	b := s.open(t)
	body := strings.Join(s.Good, "")
	type form struct {
		name   string
		writes []string
	}
	forms := []form{{"one write", []string{body}}, {"7 bytes", cut(body, 7)}, {"1 byte", cut(body, 1)}, {"CRLF", cut(strings.ReplaceAll(body, "\n", "\r\n"), 5)}}
	for _, f := range forms {
		rec, got, err, derr := b.run(t.Context(), t, Script{Writes: f.writes}, Ask())
		if err != nil || derr != nil {
			t.Fatalf("%s: stream: %v, decode: %v", f.name, err, derr)
		}
		if Text(got) != s.Text || got.Counts != s.Counts {
			t.Errorf("%s: text %q, counts %+v", f.name, Text(got), got.Counts)
		}
		for _, step := range []int{1, 3, 64, len(rec.Data)} {
			again := rec
			again.Reads = nil
			for end := 0; end < len(rec.Data); {
				end = min(len(rec.Data), end+step)
				again.Reads = append(again.Reads, stream.Read{End: end, At: rec.Send + time.Duration(end)})
			}
			tr, err := b.ses.Decode(again)
			if err != nil || Text(tr) != s.Text || tr.Counts != s.Counts || tr.Finish != got.Finish || len(tr.Events) != len(got.Events) {
				t.Errorf("%s, reads of %d bytes: %v, text %q, counts %+v, %d events", f.name, step, err, Text(tr), tr.Counts, len(tr.Events))
			}
		}
	}
}

func cut(s string, n int) []string {
	var out []string
	for c := range slices.Chunk([]byte(s), n) {
		out = append(out, string(c))
	}
	return out
}

func checkPure(t *testing.T, s *Suite) {
	b := s.open(t)
	rec, one, _, err := b.run(t.Context(), t, Script{Writes: s.Good}, Ask())
	if err != nil {
		t.Fatal(err)
	}
	data, reads := bytes.Clone(rec.Data), slices.Clone(rec.Reads)
	two, err := b.ses.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("a second decode differs: %s", diff)
	}
	if !bytes.Equal(data, rec.Data) || !slices.Equal(reads, rec.Reads) {
		t.Error("decoding changed the recording")
	}
}

// half is the good stream up to its middle, with some text but no end.
func (s *Suite) half() []string { return s.Good[:(len(s.Good)+1)/2] }

func checkNoEnd(t *testing.T, s *Suite) {
	b := s.open(t)
	rec, got, err, derr := b.run(t.Context(), t, Script{Writes: s.half()}, Ask())
	if err != nil || rec.Outcome != stream.Complete {
		t.Errorf("HTTP was fine, got %v, outcome %s", err, rec.Outcome)
	}
	if !errors.Is(derr, drivers.ErrTruncated) {
		t.Errorf("decode: %v, want %v", derr, drivers.ErrTruncated)
	}
	s.startsWell(t, got)
}

func (s *Suite) startsWell(t *testing.T, got stream.Transcript) {
	t.Helper()
	if txt := Text(got); txt == "" || !strings.HasPrefix(s.Text, txt) {
		t.Errorf("text before the fault is %q, want a start of %q", txt, s.Text)
	}
}

func checkCut(t *testing.T, s *Suite) {
	b := s.open(t)
	rec, got, err, derr := b.run(t.Context(), t, Script{Writes: s.half(), End: Cut}, Ask())
	if !errors.Is(err, drivers.ErrReset) && !errors.Is(err, drivers.ErrTruncated) {
		t.Errorf("stream: %v", err)
	}
	if !errors.Is(derr, drivers.ErrTruncated) && !errors.Is(derr, drivers.ErrReset) {
		t.Errorf("decode: %v", derr)
	}
	if rec.Outcome != stream.Cut || rec.Fault == "" {
		t.Errorf("outcome %q, fault %q", rec.Outcome, rec.Fault)
	}
	s.startsWell(t, got)
}

func checkReset(t *testing.T, s *Suite) {
	b := s.open(t)
	rec, got, err, derr := b.run(t.Context(), t, Script{Writes: s.half(), End: Reset}, Ask())
	if !errors.Is(err, drivers.ErrReset) || !errors.Is(derr, drivers.ErrReset) || rec.Outcome != stream.Cut {
		t.Errorf("stream: %v, decode: %v, outcome %s", err, derr, rec.Outcome)
	}
	s.startsWell(t, got)
	if _, got, err, derr := b.run(t.Context(), t, Script{Writes: s.Good}, Ask()); err != nil || derr != nil || Text(got) != s.Text {
		t.Errorf("the stream after a reset: %v, %v, %q", err, derr, Text(got))
	}
}

func checkFailure(t *testing.T, s *Suite) {
	b := s.open(t)
	_, _, err, derr := b.run(t.Context(), t, Script{Writes: []string{s.Failure}}, Ask())
	var api *drivers.APIError
	if err != nil || !errors.As(derr, &api) || api.Message == "" {
		t.Errorf("stream: %v, decode: %v, want an APIError with the server's words", err, derr)
	}
}

func checkStatus(t *testing.T, s *Suite) {
	b := s.open(t)
	for _, c := range []struct {
		status int
		body   string
		want   error
	}{
		{400, `{"error":{"message":"bad field"}}`, drivers.ErrBadRequest},
		{400, `{"error":{"message":"too long","type":"exceed_context_size_error"}}`, drivers.ErrContextLength},
		{401, `{"error":{"message":"wrong key ` + key + `"}}`, drivers.ErrAuth},
		{403, `no`, drivers.ErrAuth},
		{404, `{"error":"nothing here"}`, drivers.ErrNotFound},
		{404, `{"error":"model 'x' not found"}`, drivers.ErrModelNotFound},
		{413, ``, drivers.ErrContextLength},
		{429, `{"detail":"slow down"}`, drivers.ErrRateLimited},
		{429, `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota"}}`, drivers.ErrNoCredit},
		{402, `{"error":{"message":"Insufficient Balance"}}`, drivers.ErrNoCredit},
		{500, strings.Repeat("x", 100_000), drivers.ErrServer},
		{503, `{"error":{"message":"Loading model"}}`, drivers.ErrOverloaded},
		{529, `busy`, drivers.ErrOverloaded},
	} {
		script := JSON(c.body)
		script.Status, script.Header["Retry-After"] = c.status, "3"
		rec, _, err, derr := b.run(t.Context(), t, script, Ask())
		var api *drivers.APIError
		if err != nil || rec.Status != c.status || !errors.Is(derr, c.want) || !errors.As(derr, &api) || api.Status != c.status {
			t.Errorf("%d %.50s: stream: %v, decode: %v, want %v", c.status, c.body, err, derr, c.want)
			continue
		}
		if api.RetryAfter != 3*time.Second {
			t.Errorf("%d: retry after %v, want 3s", c.status, api.RetryAfter)
		}
		if len(derr.Error()) > 1000 || strings.Contains(api.Message, key) {
			t.Errorf("%d: the error has %d bytes: %.200v", c.status, len(derr.Error()), derr)
		}
	}
}

// promptly is how late a stream may return on a machine that has other work to do; a defect is seconds or for ever.
const promptly = 3 * time.Second

func checkCancel(t *testing.T, s *Suite) {
	b := s.open(t)
	for _, c := range []struct {
		name   string
		script Script
	}{{"before the answer", Script{First: time.Minute}}, {"inside the stream", Script{Writes: s.half(), End: Hang}}} {
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		timer := time.AfterFunc(100*time.Millisecond, func() { at = time.Now(); cancel() })
		rec, _, err, derr := b.run(ctx, t, c.script, Ask())
		took := time.Since(at)
		timer.Stop()
		if !errors.Is(err, context.Canceled) || !errors.Is(derr, context.Canceled) || rec.Outcome != stream.Canceled {
			t.Errorf("%s: stream: %v, decode: %v, outcome %s", c.name, err, derr, rec.Outcome)
		}
		if took > promptly {
			t.Errorf("%s: it took %v to return", c.name, took)
		}
		if !b.srv.Gone(2 * time.Second) {
			t.Errorf("%s: the server's connection stays open", c.name)
		}
	}
}

func checkDeadlines(t *testing.T, s *Suite) {
	b := s.open(t)
	hang := Script{Writes: s.half(), End: Hang}
	for _, c := range []struct {
		name   string
		script Script
		ask    func(*drivers.Request)
		ctx    time.Duration
	}{
		{"first byte", Script{First: time.Minute}, func(r *drivers.Request) { r.FirstByteWithin, r.IdleWithin = 80*time.Millisecond, time.Minute }, time.Minute},
		{"first byte, only the header came", Script{End: Hang}, func(r *drivers.Request) { r.FirstByteWithin, r.IdleWithin = 80*time.Millisecond, time.Minute }, time.Minute},
		{"silence", hang, func(r *drivers.Request) { r.FirstByteWithin, r.IdleWithin = time.Minute, 80*time.Millisecond }, time.Minute},
		{"the caller's", hang, func(*drivers.Request) {}, 80 * time.Millisecond},
	} {
		r := Ask()
		c.ask(&r)
		ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
		began := time.Now()
		rec, _, err, derr := b.run(ctx, t, c.script, r)
		cancel()
		if !errors.Is(err, drivers.ErrTimeout) || !errors.Is(derr, drivers.ErrTimeout) || rec.Outcome != stream.Deadline {
			t.Errorf("%s: stream: %v, decode: %v, outcome %s", c.name, err, derr, rec.Outcome)
		}
		if took := time.Since(began); took < 70*time.Millisecond || took > promptly {
			t.Errorf("%s: returned after %v, want about 80ms", c.name, took)
		}
		if !b.srv.Gone(2 * time.Second) {
			t.Errorf("%s: the server's connection stays open", c.name)
		}
	}
	// A stream that goes on is not cut by the deadline of its first byte.
	r := Ask()
	r.FirstByteWithin = 600 * time.Millisecond
	if _, got, err, derr := b.run(t.Context(), t, Script{Writes: s.Good, Pause: 200 * time.Millisecond}, r); err != nil || derr != nil || Text(got) != s.Text {
		t.Errorf("a slow stream: %v, %v, %q", err, derr, Text(got))
	}
}

func checkHold(t *testing.T, s *Suite) {
	b := s.open(t)
	b.srv.Play(s.Stream, Script{Writes: s.Good})
	before, calls := len(b.srv.Requests(s.Stream)), 0
	var sched time.Duration
	r := Ask()
	r.Hold = func(context.Context) (time.Duration, error) {
		calls++
		time.Sleep(30 * time.Millisecond)
		if n := len(b.srv.Requests(s.Stream)); n != before {
			t.Errorf("%d requests came before the stream was let go", n-before)
		}
		sched = b.clk.Now()
		return sched, nil
	}
	rec, err := b.ses.Stream(t.Context(), r)
	if err != nil || calls != 1 || rec.Sched != sched || rec.Send < sched {
		t.Errorf("%v, %d calls, sched %v (want %v), send %v", err, calls, rec.Sched, sched, rec.Send)
	}
	if late := rec.Send - sched; late > 50*time.Millisecond {
		t.Errorf("%v from release to send: something was left to prepare", late)
	}
	stop := errors.New("not now")
	r.Hold = func(context.Context) (time.Duration, error) { return 0, stop }
	before = len(b.srv.Requests(s.Stream))
	if rec, err = b.ses.Stream(t.Context(), r); !errors.Is(err, stop) || rec.Send != 0 {
		t.Errorf("held back: %v, send %v", err, rec.Send)
	}
	if n := len(b.srv.Requests(s.Stream)); n != before {
		t.Errorf("%d requests were sent though held back", n-before)
	}
}

func checkAtOnce(t *testing.T, s *Suite) {
	const streams = 8
	b := s.open(t)
	b.srv.Play(s.Stream, Script{Writes: s.Good, Pause: 5 * time.Millisecond})
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			rec, err := b.ses.Stream(t.Context(), Ask())
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := b.ses.Decode(rec); err != nil || Text(got) != s.Text {
				t.Errorf("%v, %q", err, Text(got))
			}
			_ = b.ses.Info()
		})
	}
	wg.Wait()
	// One after another, streams go over a connection that is open already.
	rec, _, err, _ := b.run(t.Context(), t, Script{Writes: s.Good}, Ask())
	if err != nil || !rec.Conn.Reused || rec.Conn.Connect != 0 {
		t.Errorf("%v, connection %+v, want a reused one", err, rec.Conn)
	}
}

func checkClose(t *testing.T, s *Suite) {
	b := s.open(t)
	for range 2 {
		if err := b.ses.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	before := len(b.srv.Requests(s.Stream))
	if _, err := b.ses.Stream(t.Context(), Ask()); err == nil || len(b.srv.Requests(s.Stream)) != before {
		t.Errorf("a stream on a closed session: %v", err)
	}
}

func checkCaps(t *testing.T, s *Suite) {
	b := s.open(t)
	caps := drivers.CapsOf(b.ses)
	if diff := cmp.Diff(s.Caps, caps.Names()); diff != "" {
		t.Errorf("abilities: %s", diff)
	}
	try := func(name string, err error) {
		if err != nil {
			t.Errorf("%s is there but does not work: %v", name, err)
		}
	}
	if caps.Tokenizer != nil {
		ids, err := caps.Tokenizer.Tokenize(t.Context(), Ask().Prompt)
		if errors.Is(err, drivers.ErrUnsupported) { // it knows no tools
			ids, err = caps.Tokenizer.Tokenize(t.Context(), drivers.Prompt{Messages: Ask().Prompt.Messages[:2]})
		}
		if try("tokenizer", err); len(ids) == 0 {
			t.Error("the tokenizer gives no tokens")
		}
	}
	if caps.CacheStatser != nil {
		_, err := caps.CacheStatser.CacheStats(t.Context())
		try("cache_stats", err)
	}
	if caps.CacheFlusher != nil {
		try("cache_flush", caps.CacheFlusher.FlushCache(t.Context()))
	}
	if caps.Activity != nil {
		_, err := caps.Activity.Activity(t.Context())
		try("activity", err)
	}
}

func checkInfo(t *testing.T, s *Suite) {
	b := s.open(t)
	i := b.ses.Info()
	if i.Backend != s.Spec.Name || i.URL != b.srv.URL || i.URLKind != "loopback" || !i.Attached || i.Model.Ref == "" {
		t.Errorf("info: %+v", i)
	}
	if diff := cmp.Diff(i, b.ses.Info()); diff != "" {
		t.Errorf("info changed: %s", diff)
	}
	if all := fmt.Sprintf("%+v %#v", i, i); strings.Contains(all, key) {
		t.Error("the key is in the info")
	}
	found, err := s.Spec.Detect(t.Context(), s.config(t, b.srv.URL, clock.New()))
	if err != nil {
		t.Fatalf("detect: %v", err)
	}
	for _, f := range found {
		if f.Backend != s.Spec.Name {
			t.Errorf("detect found %+v", f)
		}
	}
}

func checkUnreachable(t *testing.T, s *Suite) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	ses, err := s.Spec.Open(t.Context(), s.config(t, "http://user:pass@"+addr, clock.New()), drivers.Need{Context: 1024, Parallel: 1})
	if !errors.Is(err, drivers.ErrUnreachable) || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "pass@") {
		t.Errorf("open: %v, %v", ses, err)
	}
	noKey(t, err)
}

func checkLeak(t *testing.T, s *Suite) {
	count := func() int {
		runtime.GC()
		return runtime.NumGoroutine()
	}
	before := count()
	t.Run("session", func(t *testing.T) {
		b := s.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, _, _, _ = b.run(ctx, t, Script{Writes: s.half(), End: Hang}, Ask())
		_, _, _, _ = b.run(t.Context(), t, Script{Writes: s.Good}, Ask())
		if err := b.ses.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 100 {
		if count() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d two seconds after Close", before, count())
}
