package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// Sources is what a document is computed again from.
type Sources struct {
	Decode func(stream.Recording) (stream.Transcript, error) // of the driver that measured
	Load   func(record.RawFile) ([]stream.Recording, error)  //
	Suite  *suite.Suite                                      // of the document's digest; nil where it is not here: ratios between rows are then taken over
}

// Recomputed is a row that was built anew from its recordings.
type Recomputed struct {
	Key  string
	Row  record.Row
	Err  error // why it could not be built; Row is empty then
	Idle bool  // it holds no request: there is nothing to compute
}

// Recompute builds the rows of a document anew: every recording is decoded and measured, and figures are made of that as a
// run makes them. What no recording holds is taken over from the document: status and reason, what each request was asked
// for, what the suite's program recorded, the cold probe, flags, energy, pauses, and whether the row may be ranked. It
// measures nothing, opens no session and changes neither document nor recordings.
func Recompute(doc *record.Result, from Sources) []Recomputed {
	rb := &rebuild{doc: doc, from: from, files: map[string][]stream.Recording{}}
	rb.run.result = &record.Result{}
	rb.run.rows = rb.plans()
	out := make([]Recomputed, len(doc.Rows))
	for i := range doc.Rows {
		saved := &doc.Rows[i]
		st := &rowState{status: saved.Status, reason: saved.Reason}
		rb.run.state = append(rb.run.state, st)
		out[i] = Recomputed{Key: saved.Key, Idle: len(saved.Samples) == 0}
		if out[i].Err = rb.row(saved, st); out[i].Err == nil {
			out[i].Row = rb.run.build(i)
			rb.run.result.Rows = append(rb.run.result.Rows, out[i].Row)
		}
		rb.files = map[string][]stream.Recording{} // a row has files of its own
	}
	if from.Suite != nil {
		rb.run.relate()
	}
	for i := range out {
		if row := rb.run.rowOf(out[i].Key); row != nil && out[i].Err == nil {
			out[i].Err = rb.takeOver(row, &doc.Rows[i])
			out[i].Row = *row
		}
	}
	return out
}

// rebuild is a run that has happened.
type rebuild struct {
	doc   *record.Result
	from  Sources
	run   run
	files map[string][]stream.Recording
}

// plans gives the rows of the document as a suite plans them: the suite itself where it is here, else as far as the
// document tells.
func (rb *rebuild) plans() []RowPlan {
	planned := map[string]RowPlan{}
	if rb.from.Suite != nil {
		for _, p := range allRows(rb.from.Suite, rb.doc.Mode == "quick") {
			planned[p.Key] = p
		}
	}
	plans := make([]RowPlan, len(rb.doc.Rows))
	for i := range rb.doc.Rows {
		row := &rb.doc.Rows[i]
		p, ok := planned[row.Key]
		if !ok {
			w := &suite.Workload{ID: row.ID, Name: row.Workload, Reports: row.Reports, Metrics: map[string]suite.MetricSpec{}}
			for name, m := range row.Metrics {
				spec := suite.MetricSpec{Unit: m.Unit, Better: m.Better}
				for stat := range m.Stats {
					spec.Stats = append(spec.Stats, stat)
				}
				w.Metrics[name] = spec
			}
			p = RowPlan{Key: row.Key, ID: row.ID, Name: row.Workload, Point: row.Point, workload: w}
		}
		p.Point = row.Point
		plans[i] = p
	}
	return plans
}

// row fills a state with the passes of a row.
func (rb *rebuild) row(saved *record.Row, st *rowState) error {
	if p := saved.ColdProbe; p != nil {
		st.session = &session{probe: &coldProbe{Probe: probeIn(p), cached: countIn(p.Cached)}}
	}
	base := 0
	for base < len(saved.Samples) {
		n := 1
		for base+n < len(saved.Samples) && saved.Samples[base+n].Pass == saved.Samples[base].Pass {
			n++
		}
		p, err := rb.pass(saved, base, n)
		if err != nil {
			return err
		}
		st.passes = append(st.passes, p)
		base += n
	}
	good := 0
	for i := range st.passes {
		if p := &st.passes[i]; p.err == nil {
			p.metrics = map[string][]float64{}
			for name, m := range saved.Metrics {
				if good < len(m.Values) {
					p.metrics[name] = m.Values[good]
				}
			}
			good++
		}
	}
	if good != saved.Passes {
		return fmt.Errorf("it says that %d passes were finished, and %d have no failed request: which ones its figures stand on is not known", saved.Passes, good)
	}
	return nil
}

// pass measures the requests of one pass, which are n from base on.
func (rb *rebuild) pass(saved *record.Row, base, n int) (passResult, error) {
	p := passResult{pass: saved.Samples[base].Pass}
	for i := range n {
		s := &saved.Samples[base+i]
		if s.Inputs == nil {
			return p, errors.New("the document was made by an earlier version, which did not keep what went into the figures beside the recordings")
		}
		name, at, _ := strings.Cut(s.Raw, "#")
		recs, err := rb.file(name)
		if err != nil {
			return p, err
		}
		if at != strconv.Itoa(i) || i >= len(recs) || s.Stream != i {
			return p, fmt.Errorf("request %d.%d refers to %q, which is no recording of it", s.Pass, s.Stream, s.Raw)
		}
		p.raw.Path = name
		m := rb.request(saved, s, recs[i])
		if m.Failed() && p.err == nil {
			p.err = errors.New(m.Err)
		}
		p.samples = append(p.samples, m)
	}
	p.wall = wallOfReleases(p.samples)
	for _, b := range saved.Batches {
		if b.Pass != p.pass {
			continue
		}
		again, err := batchAgain(&p, b, base)
		if err != nil {
			return p, err
		}
		p.batches = append(p.batches, again)
	}
	return p, nil
}

// file reads a file of recordings that the document names.
func (rb *rebuild) file(name string) ([]stream.Recording, error) {
	if recs, ok := rb.files[name]; ok {
		return recs, nil
	}
	i := slices.IndexFunc(rb.doc.Raw, func(f record.RawFile) bool { return f.Path == name })
	if i < 0 {
		return nil, fmt.Errorf("the document does not list its file of recordings %q", name)
	}
	recs, err := rb.from.Load(rb.doc.Raw[i])
	if err == nil {
		rb.files[name] = recs
	}
	return recs, err
}

// request decodes and measures one recording.
func (rb *rebuild) request(row *record.Row, s *record.Sample, rec stream.Recording) measured {
	in := s.Inputs
	m := measured{prompt: &prompt{target: s.AskedPrompt, reuse: in.Reuse}, asked: s.AskedOutput, release: in.Release}
	if in.Extends {
		m.prompt.parent = &prompt{}
	}
	m.tr, m.err = rb.from.Decode(rec)
	if s.Error != "" {
		m.err = errors.New(s.Error) // it may have failed before or after what was read
	}
	m.Sample = measure.Request(rec, m.tr, measure.Asked{
		Err: m.err, OutputTokens: s.AskedOutput, PromptTokens: s.AskedPrompt, Cold: in.Cold, Template: in.Template, CacheBlock: in.CacheBlock, TextTokens: in.TextTokens, FirstTokens: in.FirstTokens,
	})
	m.maxHit, m.maxBound = s.MaxCached, s.Reasons["max_cached"] != ""
	switch probe := row.ColdProbe; {
	case m.ServerPrefill.Known:
		m.prefill, m.prefillHow = m.ServerPrefill, measure.PrefillServer
	case statesPrefill(m.tr.Server):
		m.prefill = m.ServerPrefill
	case s.PrefillHow == measure.PrefillEstimated && probe != nil && m.Prompt.Known():
		m.prefill = measure.PrefillByClient(m.Prompt.N, m.First-m.Send, probeIn(probe))
		m.prefillHow = measure.PrefillEstimated
	default: // why no estimate was made is the session's
		m.prefill = measure.Unknown("%s", s.Reasons["prefill_tps"])
	}
	m.rec = rec
	m.rec.Data, m.rec.Reads, m.tr.Events = nil, nil, nil
	if rb.doc.Reasons["raw_timings.text"] != "" { // the answers' text is masked in the recordings, and what is in extras may be
		m.tr.Extra = s.Extra
	}
	return m
}

// wallOfReleases is the time of a pass: from send to last text, summed over its releases.
func wallOfReleases(ms []measured) time.Duration {
	var wall time.Duration
	for first := 0; first < len(ms); {
		begin, end := ms[first].Send, ms[first].Last
		last := first
		for ; last < len(ms) && ms[last].release == ms[first].release; last++ {
			begin, end = min(begin, ms[last].Send), max(end, ms[last].Last)
		}
		if end > begin && end > 0 {
			wall += end - begin
		}
		first = last
	}
	return wall
}

// batchAgain measures a barrier release anew. Its streams are counted from the row's first request, of which base are in
// passes before.
func batchAgain(p *passResult, b record.Batch, base int) (batchResult, error) {
	var samples []measure.Sample
	var streams []int
	for _, at := range b.Streams {
		if at < base || at-base >= len(p.samples) {
			return batchResult{}, fmt.Errorf("a release of pass %d has a stream %d that the pass does not have", p.pass, at)
		}
		samples, streams = append(samples, p.samples[at-base].Sample), append(streams, at-base)
	}
	t := measure.Batch(samples)
	return batchResult{batchOf(p.pass, streams, t), t}, nil
}

// takeOver gives a row what no recording holds. The error says that a flag which its recordings raise is not in the
// document.
func (rb *rebuild) takeOver(row, saved *record.Row) error {
	for _, f := range row.Flags {
		if f.Name != measure.Errors && !slices.Contains(saved.Flags, f) {
			return fmt.Errorf("its recordings raise the flag %s (%s), and the document does not have it", f.Name, f.Evidence)
		}
	}
	row.Flags, row.Rankable, row.Energy, row.Pauses = saved.Flags, saved.Rankable, saved.Energy, saved.Pauses
	if rb.from.Suite == nil || saved.RelativeTo == nil { // documents of before it was recorded do not have it
		row.RelativeTo = saved.RelativeTo
	}
	names := []string{"energy", "rankable"}
	if rb.from.Suite == nil {
		row.Relative = saved.Relative
		for name := range saved.Relative {
			names = append(names, name)
		}
	}
	for _, name := range names {
		delete(row.Reasons, name)
		if why, ok := saved.Reasons[name]; ok {
			row.Reasons[name] = why
		}
	}
	return nil
}

// countIn is the inverse of countOf.
func countIn(c record.Count) stream.Count {
	if c.N == nil {
		return stream.Count{}
	}
	return stream.Count{N: *c.N, From: stream.Provenance(c.From)}
}

// probeIn is a cold probe as the result holds it.
func probeIn(p *record.Probe) measure.Probe {
	span := func(ms float64) time.Duration { return time.Duration(math.Round(ms * 1e6)) }
	return measure.Probe{Tokens: p.Tokens, TTFT: span(p.TTFTms), Noise: span(p.NoiseMs)}
}
