package pyhelper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/ndjson"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Decode understands a helper's recorded stream. It is pure. An event's stamp is that of our read of the pipe; the helper's
// own stamps make Server, and Extra says how far the two lie apart. Errors: what the helper stated, as failure.err gives it;
// ErrTruncated for a stream without its end, with ErrServerDied or ErrReset; ErrTimeout; context.Canceled; ErrProtocol.
func Decode(rec stream.Recording) (stream.Transcript, error) {
	d := decoder{rec: &rec}
	err := d.read()
	d.finish()
	if err == nil && d.end == nil {
		err = ended(&rec)
	}
	return d.out, err
}

// ended judges a recording that stopped without its last line.
func ended(rec *stream.Recording) error {
	switch {
	case rec.Outcome == stream.Deadline:
		return fmt.Errorf("%w: %s", drivers.ErrTimeout, rec.Fault)
	case rec.Outcome == stream.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, rec.Fault)
	case strings.Contains(rec.Fault, drivers.ErrServerDied.Error()):
		return fmt.Errorf("%w: %w: %s", drivers.ErrServerDied, drivers.ErrTruncated, rec.Fault)
	case strings.Contains(rec.Fault, drivers.ErrProtocol.Error()):
		return fmt.Errorf("%w: %w: %s", drivers.ErrProtocol, drivers.ErrTruncated, rec.Fault)
	case rec.Outcome != stream.Complete:
		return fmt.Errorf("%w: %w: %s", drivers.ErrReset, drivers.ErrTruncated, rec.Fault)
	}
	return fmt.Errorf("%w: no end line after %d bytes", drivers.ErrTruncated, len(rec.Data))
}

// decoder gathers what the lines of one stream say.
type decoder struct {
	rec    *stream.Recording
	out    stream.Transcript
	start  *message
	stamps []int64 // the helper's, one a token line
	end    *ending
	tokens int
	back   bool // the helper's stamps go back
}

func (d *decoder) read() error {
	for l := range ndjson.Lines(d.rec) {
		m, err := parse(l.Data)
		switch {
		case err != nil && l.Open:
			return nil // cut inside the line: ended says so
		case err != nil:
			return err
		case m.Error != nil:
			return m.Error.err()
		case m.Start != nil:
			d.start = &m
		case m.At != nil:
			if n := len(d.stamps); n > 0 && *m.At < d.stamps[n-1] {
				d.back = true
			}
			d.stamps = append(d.stamps, *m.At)
			d.tokens += m.Tokens
			d.out.Events = append(d.out.Events, stream.Event{At: l.At, Read: l.Read, Kind: stream.Silent, Tokens: m.Tokens})
		case m.End != nil:
			d.end = m.End
			return nil
		}
	}
	return nil
}

// finish puts the texts to their events, and makes counts, timing and extras.
func (d *decoder) finish() {
	if s := d.start; s != nil {
		if s.Prompt != nil {
			d.out.Counts.Prompt = stream.Count{N: *s.Prompt, From: stream.Usage}
		}
		if s.Cached != nil {
			d.out.Counts.Cached = stream.Count{N: *s.Cached, From: stream.Usage}
		}
	}
	extra := map[string]json.RawMessage{}
	if how := d.rec.Sent[sentRendering]; how != "" {
		extra["rendering"] = quoted(how)
	}
	if e := d.end; e != nil {
		d.out.Finish = e.Finish
		if e.Cached != nil && *e.Cached >= 0 {
			d.out.Counts.Cached = stream.Count{N: *e.Cached, From: stream.Usage}
		}
		if e.Output != nil && *e.Output >= 0 {
			d.out.Counts.Output = stream.Count{N: *e.Output, From: stream.Usage}
			if *e.Output != d.tokens {
				d.disagree("the helper counts %d output tokens, its lines hold %d", *e.Output, d.tokens)
			}
		}
		if len(e.Texts) != len(d.stamps) {
			d.disagree("the helper gives %d texts for %d lines of tokens", len(e.Texts), len(d.stamps))
		} else {
			d.texts(e.Texts)
		}
		if json.Valid(e.Extra) {
			extra["helper"] = e.Extra
		}
	}
	if p, c := d.out.Counts.Prompt, d.out.Counts.Cached; p.Known() && c.Known() && c.N > p.N {
		d.disagree("%d cached tokens of a prompt of %d", c.N, p.N)
		d.out.Counts.Cached = stream.Count{}
	}
	if d.back {
		d.disagree("the helper's own stamps go back")
	} else {
		d.timing()
		if lag := d.pipe(); lag != nil {
			extra["pipe"] = lag
		}
	}
	d.out.Extra = drivers.Extra(extra)
}

func quoted(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return b
}

func (d *decoder) disagree(format string, args ...any) {
	d.out.Disagree = append(d.out.Disagree, fmt.Sprintf(format, args...))
}

// texts puts each text to its event, and tells thinking from the answer by the marks that the model's text holds.
func (d *decoder) texts(texts []string) {
	all := strings.Join(texts, "")
	until, seen := thought(all, d.rec.Sent)
	at, reasoning := 0, 0
	for i, t := range texts {
		e := &d.out.Events[i]
		inside := at < until
		at += len(t)
		if inside {
			reasoning += e.Tokens
		}
		if t == "" {
			continue
		}
		e.Text, e.Kind = t, stream.Content
		if inside {
			e.Kind = stream.Reasoning
		}
	}
	if seen || d.rec.Sent[sentThinking] == "none" {
		d.out.Counts.Reasoning = stream.Count{N: reasoning, From: stream.Usage}
	}
}

// thought is where the thinking at the start of a text ends, in bytes; seen is false where there is no sign of any.
func thought(all string, sent map[string]string) (until int, seen bool) {
	opens, closes := sent[sentThinkStart], sent[sentThinkEnd]
	from := 0
	switch {
	case closes == "" || sent[sentThinking] == "none":
		return 0, false
	case sent[sentThinking] == "open":
	default:
		start := strings.TrimLeft(all, " \n\r\t")
		if opens == "" || !strings.HasPrefix(start, opens) {
			return 0, false
		}
		from = len(all) - len(start) + len(opens)
	}
	if i := strings.Index(all[from:], closes); i >= 0 {
		return from + i + len(closes), true
	}
	return len(all), true
}

// longest is more than a stream takes; figures beyond it are none.
const longest = int64(1000 * time.Hour)

// timing makes the helper's own figures, by its own clock: the prefill ends with the first token, the decode interval starts
// there.
func (d *decoder) timing() {
	s, n := d.start, len(d.stamps)
	if s == nil || n == 0 || d.end == nil {
		return
	}
	if *s.Start <= 0 || s.Go < 0 || d.stamps[0] < *s.Start {
		d.disagree("the helper's first token is stamped %d, its start %d", d.stamps[0], *s.Start)
		return
	}
	t := &d.out.Server
	queue := time.Duration(0)
	if s.Go > 0 && *s.Start > s.Go {
		queue = time.Duration(*s.Start - s.Go)
	}
	whole := d.stamps[0] - *s.Start
	if q := d.end.Queue; q > 0 && q < whole {
		queue, whole = queue+time.Duration(q), whole-q
	}
	c := d.out.Counts
	if whole > 0 && whole < longest && c.Prompt.Known() && c.Cached.Known() && c.Prompt.N > c.Cached.N {
		t.PromptTokens = stream.Count{N: c.Prompt.N - c.Cached.N, From: stream.Usage}
		t.Prefill = time.Duration(whole)
	}
	if queue < time.Duration(longest) {
		t.Queue = queue
	}
	if span := d.stamps[n-1] - d.stamps[0]; span > 0 && span < longest {
		first := 0 // tokens of the lines that bear the first stamp
		for i, at := range d.stamps {
			if at == d.stamps[0] {
				first += d.out.Events[i].Tokens
			}
		}
		t.DecodeTokens, t.Decode = d.tokens-first, time.Duration(span)
	}
	if t.Prefill > 0 || t.Decode > 0 {
		t.Definition = d.rec.Sent[sentDefinition]
	}
}

// pipe says how long after the helper's own stamps its lines were read: what the headline stamps hold beside the backend's
// work. Microseconds; the clocks are compared with an error of at most bound_us.
func (d *decoder) pipe() json.RawMessage {
	add, err1 := strconv.ParseInt(d.rec.Sent[sentOffset], 10, 64)
	bound, err2 := strconv.ParseInt(d.rec.Sent[sentBound], 10, 64)
	if errors.Join(err1, err2) != nil || len(d.stamps) == 0 {
		return nil
	}
	lags := make([]float64, len(d.stamps))
	for i, s := range d.stamps {
		lags[i] = float64(int64(d.out.Events[i].At)-s-add) / 1e3
	}
	slices.Sort(lags)
	b, err := json.Marshal(map[string]float64{
		"lag_p50_us": lags[len(lags)/2], "lag_max_us": lags[len(lags)-1], "bound_us": float64(bound) / 1e3,
	})
	if err != nil {
		return nil
	}
	return b
}
