package upload

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

func (p *preparing) row(r *record.Row) Row {
	out := Row{
		Key: p.ofSuite("rows.key", r.Key), ID: p.ofSuite("rows.id", r.ID), Workload: p.ofSuite("rows.workload", r.Workload), Point: map[string]string{},
		Status: string(r.Status), Rankable: r.Rankable, Flags: p.flags(r.Flags), Passes: int64(max(r.Passes, 0)),
		Provenance: p.word("rows.provenance", r.CountProvenance), TokensHow: p.word("rows.n_i", r.TokensHow), Cold: p.word("rows.cold", r.Cold),
		Stated:  Stated{ITLp50: p.ms(r.ITLp50ms), ITLp95: p.ms(r.ITLp95ms), ITLp99: p.ms(r.ITLp99ms), DecodeOver: scaled(r.DecodeOver, 1e6)},
		Batches: []Batch{}, Metrics: map[string]Metric{},
	}
	for key, value := range r.Point {
		if key = p.ofSuite("rows.point", key); key != "" {
			out.Point[key] = p.ofSuite("rows.point", pointText(value))
		}
	}
	if c := r.ColdProbe; c != nil {
		if ttft, noise := p.ms(&c.TTFTms), p.ms(&c.NoiseMs); ttft != nil && noise != nil && c.Tokens >= 0 {
			out.ColdProbe = &Probe{Tokens: int64(c.Tokens), TTFT: *ttft, Noise: *noise, Cached: whole(c.Cached.N)}
		}
	}
	if e := r.Energy; e != nil {
		out.Energy = &Energy{
			Decode: p.rounded(scaled(e.DecodeJ, 1e6)), DecodeTime: p.rounded(scaled(&e.DecodeS, 1e9)), DecodeTokens: scaled(&e.DecodeTokens, 1e3),
			Prefill: p.rounded(scaled(e.PrefillJ, 1e6)), PrefillTime: p.rounded(scaled(&e.PrefillS, 1e9)), PrefillTokens: scaled(&e.PrefillTokens, 1e3),
		}
	}
	if w := r.Pauses; w != nil {
		out.Waited, out.Repeated = p.rounded(scaled(&w.WaitedS, 1e9)), count(w.Repeated)
	}
	out.Samples, out.Sent = p.samples(r.Samples)
	for i := range r.Batches {
		if b := &r.Batches[i]; int64(b.Pass) <= p.passes {
			out.Batches = append(out.Batches, p.batch(b))
		}
	}
	good := out.Samples.finished()
	for name, m := range r.Metrics {
		if name = p.ofSuite("rows.metrics", name); name != "" {
			out.Metrics[name] = p.metric(m, len(good))
		}
	}
	return out
}

// pointText writes a value of a point as JSON does; a text as it is.
func pointText(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func (p *preparing) batch(b *record.Batch) Batch {
	out := Batch{Pass: int64(b.Pass), Streams: []int64{}, AggregateOK: b.AggregateTPS != nil, SpanOK: b.SpanTPS != nil, Parallelism: int64(max(b.Parallelism, 0))}
	for _, s := range b.Streams {
		out.Streams = append(out.Streams, int64(s))
	}
	if window := b.W1ns - b.W0ns; window > 0 {
		out.Window, out.WindowTokens = p.rounded(whole(&window)), scaled(&b.WindowTokens, 1e3)
	}
	return out
}

// metric takes the values of the finished passes that are in the document: the document of the run lists those alone.
func (p *preparing) metric(m record.Metric, passes int) Metric {
	out := Metric{Unit: p.ofSuite("rows.metrics", m.Unit), Better: m.Better, Values: [][]*int64{}}
	for _, values := range m.Values[:min(passes, len(m.Values))] {
		list := []*int64{}
		for _, v := range values {
			list = append(list, p.rounded(scaled(&v, 1e6)))
		}
		out.Values = append(out.Values, list)
	}
	return out
}

// samples are the requests of the first passes, and how many passes those are.
func (p *preparing) samples(list []record.Sample) (Samples, int64) {
	var c Samples
	c.eachColumn(func(_ string, column any) { empty(column) })
	type release struct{ pass, first int }
	of := func(s *record.Sample) release {
		if s.Inputs == nil {
			return release{s.Pass, s.Stream}
		}
		return release{s.Pass, s.Inputs.Release}
	}
	began := map[release]int64{} // when its first request was sent
	for i := range list {
		s := &list[i]
		if at, ok := began[of(s)]; s.SendNS > 0 && (!ok || s.SendNS < at) {
			began[of(s)] = s.SendNS
		}
	}
	passes := map[int]bool{}
	for i := range list {
		s := &list[i]
		if int64(s.Pass) > p.passes {
			continue
		}
		passes[s.Pass] = true
		p.add(&c, s, began[of(s)])
	}
	return c, int64(len(passes))
}

// add puts one request at the end of every column.
func (p *preparing) add(c *Samples, s *record.Sample, began int64) {
	since := func(stamp, from int64) *int64 {
		if stamp <= 0 || from <= 0 || stamp < from {
			return nil
		}
		d := stamp - from
		return p.rounded(whole(&d))
	}
	in := record.Inputs{Release: s.Stream}
	if s.Inputs != nil {
		in = *s.Inputs
	}
	c.Pass, c.Release = append(c.Pass, int64(s.Pass)), append(c.Release, int64(in.Release))
	c.At, c.Queue = append(c.At, since(s.SendNS, began)), append(c.Queue, since(s.SendNS, s.SchedNS))
	c.TTFB, c.TTFT = append(c.TTFB, since(s.FirstByteNS, s.SendNS)), append(c.TTFT, since(s.FirstNS, s.SendNS))
	c.TTFA, c.Last = append(c.TTFA, since(s.AnswerNS, s.SendNS)), append(c.Last, since(s.LastNS, s.SendNS))
	c.Text, c.End = append(c.Text, since(s.LastNS, s.FirstNS)), append(c.End, since(s.EndNS, s.SendNS))
	c.MaxGap, c.Stalls, c.ReadLag = append(c.MaxGap, p.ms(s.MaxGapMs)), append(c.Stalls, whole(s.Stalls)), append(c.ReadLag, p.ms(&s.ReadLagMs))
	from := ""
	for _, n := range []struct {
		record.Count
		to *[]*int64
	}{{s.Prompt, &c.Prompt}, {s.Cached, &c.Cached}, {s.Output, &c.Output}, {s.Reasoning, &c.Reasoning}} {
		*n.to = append(*n.to, whole(n.N))
		letter := "-"
		if len(n.From) == 1 && n.From >= "A" && n.From <= "E" {
			letter = n.From
		}
		from += letter
	}
	c.From = append(c.From, from)
	c.Events, c.Reads, c.Merged = append(c.Events, positive(s.Events)), append(c.Reads, positive(s.Reads)), append(c.Merged, positive(s.Merged))
	var window *int64
	if s.WindowKnown {
		window = scaled(&s.WindowTokens, 1e3)
	}
	c.FirstTokens, c.WindowTokens = append(c.FirstTokens, scaled(&s.FirstTokens, 1e3)), append(c.WindowTokens, window)
	c.AskedOutput, c.AskedPrompt = append(c.AskedOutput, positive(s.AskedOutput)), append(c.AskedPrompt, positive(s.AskedPrompt))
	c.MaxCached = append(c.MaxCached, whole(s.MaxCached))
	c.Finish = append(c.Finish, finish(s.Finish))
	how := ""
	if s.PrefillTPS != nil && (s.PrefillHow == "server" || s.PrefillHow == "estimated") {
		how = s.PrefillHow
	}
	c.DecodeOK, c.PrefillFrom = append(c.DecodeOK, s.DecodeTPS != nil), append(c.PrefillFrom, how)
	c.PrefillTokens, c.PrefillTime = p.span(c.PrefillTokens, c.PrefillTime, s.ServerPrefill)
	c.DecodeTokens, c.DecodeTime = p.span(c.DecodeTokens, c.DecodeTime, s.ServerDecode)
	c.Failed, c.Reused = append(c.Failed, s.Error != ""), append(c.Reused, s.ConnReused)
	c.Warm, c.Reuse = append(c.Warm, in.Extends), append(c.Reuse, in.Reuse)
	c.Flags = append(c.Flags, p.word("rows.samples.flags", strings.Join(s.Flags, ",")))
}

// span is what a server says of itself.
func (p *preparing) span(tokens, times []*int64, s *record.ServerSpan) (t, ns []*int64) {
	if s == nil {
		return append(tokens, nil), append(times, nil)
	}
	return append(tokens, whole(&s.Tokens)), append(times, p.rounded(whole(&s.NS)))
}

func positive(n int) int64 { return int64(max(n, 0)) }

// finish is why a stream ended, where it is one of the known words: servers write what they like.
func finish(text string) string {
	known := []string{"", "length", "stop", "eos", "tool_calls", "max_tokens", "end_turn", "content_filter", "tool_use", "limit"}
	if slices.Contains(known, text) {
		return text
	}
	return "other"
}

// eachColumn gives the name and a pointer to every column.
func (c *Samples) eachColumn(do func(name string, column any)) {
	for _, col := range []struct {
		name string
		to   any
	}{
		{"pass", &c.Pass}, {"release", &c.Release}, {"at_ns", &c.At}, {"queue_ns", &c.Queue}, {"ttfb_ns", &c.TTFB}, {"ttft_ns", &c.TTFT}, {"ttfa_ns", &c.TTFA}, {"last_ns", &c.Last}, {"text_ns", &c.Text},
		{"end_ns", &c.End}, {"max_gap_ns", &c.MaxGap}, {"stalls", &c.Stalls}, {"read_lag_ns", &c.ReadLag}, {"prompt", &c.Prompt}, {"cached", &c.Cached}, {"output", &c.Output},
		{"reasoning", &c.Reasoning}, {"from", &c.From}, {"events", &c.Events}, {"reads", &c.Reads}, {"events_merged", &c.Merged}, {"first_millitokens", &c.FirstTokens},
		{"window_millitokens", &c.WindowTokens}, {"asked_output", &c.AskedOutput}, {"asked_prompt", &c.AskedPrompt}, {"max_cached", &c.MaxCached}, {"finish", &c.Finish},
		{"decode_stands", &c.DecodeOK}, {"prefill_from", &c.PrefillFrom}, {"server_prefill_tokens", &c.PrefillTokens}, {"server_prefill_ns", &c.PrefillTime},
		{"server_decode_tokens", &c.DecodeTokens}, {"server_decode_ns", &c.DecodeTime}, {"failed", &c.Failed}, {"warm", &c.Warm}, {"reuse", &c.Reuse},
		{"conn_reused", &c.Reused}, {"flags", &c.Flags},
	} {
		do(col.name, col.to)
	}
}

// empty makes a column that is a list and not null.
func empty(column any) {
	switch c := column.(type) {
	case *[]int64:
		*c = []int64{}
	case *[]*int64:
		*c = []*int64{}
	case *[]string:
		*c = []string{}
	case *[]bool:
		*c = []bool{}
	}
}
