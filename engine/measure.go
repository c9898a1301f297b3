package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// measure decodes a recording and takes its metrics. The recording's bytes stay with the pass until they are saved; what
// is kept here is small.
func (h *passHost) measure(ctx context.Context, p *prompt, rec stream.Recording, err error, spec builtins.StreamSpec) measured {
	m := measured{prompt: p, asked: spec.OutputTokens, err: err}
	var derr error
	if m.tr, derr = h.s.Decode(rec); err == nil {
		m.err = derr
	}
	m.err = h.r.redact(m.err)
	asked := measure.Asked{
		Err: m.err, OutputTokens: spec.OutputTokens, PromptTokens: p.target, Cold: p.cold, Template: p.before, CacheBlock: h.s.info.CacheBlock,
	}
	if p.seen {
		asked.Cold = false // the same prompt again is a reuse
	}
	asked.TextTokens, asked.FirstTokens = h.textTokens(ctx, p, rec, m.tr)
	m.Sample = measure.Request(rec, m.tr, asked)
	m.maxHit, m.maxBound = h.maxHit(p)
	m.prefill, m.prefillHow = h.prefill(&m, len(spec.Prompts) == 1)
	m.rec = rec
	m.rec.Data, m.rec.Reads = nil, nil
	m.tr.Events = nil
	p.seen = true
	if rec.Conn.Connect > 0 {
		h.r.addConn(rec.Conn)
	}
	if m.tr.Counts.Prompt.Known() {
		p.stated = m.tr.Counts.Prompt.N
	}
	return m
}

// statesPrefill reports whether a server gives its prefill time with the tokens that it was spent on. A time without them is no
// rate: the client's estimate takes its place.
func statesPrefill(t stream.ServerTiming) bool { return t.Prefill > 0 && t.PromptTokens.Known() }

// prefill is the prefill rate by the server's own time where it states one, else the client's estimate against the cold
// probe (measurement.md section 3).
//
// The estimate is for a stream that runs alone: beside others its TTFT holds the time that the server spent on theirs.
func (h *passHost) prefill(m *measured, alone bool) (measure.Value, string) {
	if m.ServerPrefill.Known {
		return m.ServerPrefill, measure.PrefillServer
	}
	if statesPrefill(m.tr.Server) || h.s.probe == nil {
		return m.ServerPrefill, ""
	}
	probe := h.s.probe
	switch {
	case !alone:
		return measure.Unknown("the server states no prefill time, and an estimate is made only for a stream that runs alone"), ""
	case m.Failed():
		return measure.Unknown("the stream failed: %s", m.Err), ""
	case probe.why != "":
		return measure.Unknown("%s", probe.why), ""
	case m.Cold != measure.ColdProved && m.Cold != measure.ColdAssumed:
		return measure.Unknown("the prompt was not cold, and the server states no prefill time"), ""
	case !m.Prompt.Known():
		return measure.Unknown("the server does not state the prompt's length"), ""
	case probe.cached.Known() && probe.cached.N > probe.shared:
		return measure.Unknown("the short probe was not cold"), ""
	}
	v := measure.PrefillByClient(m.Prompt.N, m.First-m.Send, probe.Probe)
	if !v.Known {
		return v, ""
	}
	return v, measure.PrefillEstimated
}

// maxHit is how many tokens of a prompt a perfect prefix cache could have served: the longest prefix that it shares with
// a prompt streamed before it in this pass. Without token ids it is what the server stated for the prompt that it
// extends, which is an upper bound.
func (h *passHost) maxHit(p *prompt) (*int, bool) {
	if !p.reuse {
		return nil, false
	}
	best, bound := 0, false
	if p.cold {
		best = max(p.before, 0) // the warm-up before it has the same template
	}
	for _, q := range h.prompts {
		if !q.seen || !q.reuse {
			continue
		}
		switch {
		case p.ids != nil && q.ids != nil:
			best = max(best, commonPrefix(p.ids, q.ids))
		case extends(p, q):
			if q.stated == 0 {
				return nil, false
			}
			best, bound = max(best, q.stated), true
		}
	}
	return &best, bound
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// extends reports whether p is q or was made from it by adding messages.
func extends(p, q *prompt) bool {
	for ; p != nil; p = p.parent {
		if p == q {
			return true
		}
	}
	return false
}

// batch gives a program its streams, and keeps the figures of a barrier.
func (h *passHost) batch(first int, spec builtins.StreamSpec) builtins.Batch {
	ms := h.out.samples[first:]
	samples := make([]measure.Sample, len(ms))
	out := builtins.Batch{}
	begin, end := ms[0].Send, ms[0].Last
	for i := range ms {
		samples[i] = ms[i].Sample
		begin, end = min(begin, ms[i].Send), max(end, ms[i].Last)
		s := builtins.Stream{
			TTFTms: ms[i].TTFT.Ptr(), TTFAms: ms[i].TTFA.Ptr(), DecodeTPS: ms[i].Decode.Ptr(), AnswerTPS: ms[i].AnswerTPS.Ptr(), WallMs: ms[i].Wall.Ptr(),
			Prompt: intOf(ms[i].Prompt), Cached: intOf(ms[i].Cached), Output: intOf(ms[i].Output), Reasoning: intOf(ms[i].Reasoning),
			Flags: []string{},
		}
		for _, f := range ms[i].Flags {
			s.Flags = append(s.Flags, f.Name)
		}
		out.Streams = append(out.Streams, s)
	}
	if end > begin && end > 0 {
		h.out.wall += end - begin
		wall := float64(end-begin) / float64(time.Millisecond)
		out.WallMs = &wall
	}
	if !spec.Batch {
		return out
	}
	t := measure.Batch(samples)
	out.AggregateTPS, out.OverlapMs = t.Aggregate.Ptr(), t.Overlap().Ptr()
	streams := make([]int, len(ms))
	for i := range ms {
		streams[i] = first + i
	}
	h.out.batches = append(h.out.batches, batchResult{batchOf(h.pass, streams, t), t})
	return out
}

// batchOf is a barrier release as the result keeps it.
func batchOf(pass int, streams []int, t measure.Together) record.Batch {
	return record.Batch{
		Pass: pass, Streams: streams, AggregateTPS: t.Aggregate.Ptr(), SpanTPS: t.Span.Ptr(), W0ns: int64(t.W0), W1ns: int64(t.W1),
		WindowTokens: t.WindowTokens, Parallelism: t.Parallelism, Reason: t.Aggregate.Why,
	}
}

// intOf is a count as a pointer: nil where unknown.
func intOf(c stream.Count) *int {
	if !c.Known() {
		return nil
	}
	return &c.N
}

// isHostError reports whether a program failed because of what it asked the host for, not by its own mistake.
func isHostError(err error) bool {
	return !builtins.IsMistake(err) && !errors.Is(err, context.Canceled)
}

// hostError takes the program's backtrace off an error of the host.
func hostError(err error) error {
	var host *builtins.HostError
	if errors.As(err, &host) {
		return host.Err
	}
	return err
}

// flagsOf are the row's flags from its requests, merged.
func flagsOf(samples []measure.Sample) []record.Flag {
	var out []record.Flag
	for _, f := range measure.MergeFlags(samples) {
		out = append(out, record.Flag{Name: f.Name, Evidence: f.Evidence})
	}
	return out
}

// addFlag adds a flag unless one of its name is there.
func addFlag(flags []record.Flag, f record.Flag) []record.Flag {
	if slices.ContainsFunc(flags, func(g record.Flag) bool { return g.Name == f.Name }) {
		return flags
	}
	return append(flags, f)
}
