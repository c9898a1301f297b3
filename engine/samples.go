package engine

import (
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// samples writes every timed request of a row into it, failed ones too.
func (r *run) samples(row *record.Row, st *rowState) {
	for n := range st.passes {
		p := &st.passes[n]
		for i := range p.samples {
			s := sampleOf(&p.samples[i])
			s.Pass, s.Stream = p.pass, i
			if p.raw.Path != "" {
				s.Raw = fmt.Sprintf("%s#%d", p.raw.Path, i)
			}
			row.Samples = append(row.Samples, s)
		}
	}
}

// sampleOf is one request as the result keeps it.
func sampleOf(m *measured) record.Sample {
	s := record.Sample{
		Error:   m.Err,
		SchedNS: int64(m.Sched), SendNS: int64(m.Send), FirstByteNS: int64(m.FirstByte), FirstNS: int64(m.First), LastNS: int64(m.Last), AnswerNS: int64(m.Answer), EndNS: int64(m.End),
		Prompt: countOf(m.Prompt), Cached: countOf(m.Cached), Output: countOf(m.Output), Reasoning: countOf(m.Reasoning),
		Events: m.Events, Reads: m.Reads, Merged: len(m.Steps),
		FirstTokens: m.FirstTokens.X, WindowTokens: m.Window.X, WindowKnown: m.Window.Known, TokensHow: m.TokensHow,
		AskedOutput: m.asked, AskedPrompt: m.prompt.target, Finish: m.Finish,
		TTFTms: m.TTFT.Ptr(), TTFAms: m.TTFA.Ptr(), PrefillTPS: m.prefill.Ptr(), PrefillHow: m.prefillHow, DecodeTPS: m.Decode.Ptr(), WallMs: m.Wall.Ptr(),
		MaxGapMs: m.MaxGap.Ptr(), Stalls: m.Stalls.IntPtr(), MaxCached: m.maxHit,
		ConnReused: m.rec.Conn.Reused, ReadLagMs: float64(m.ReadLag) / float64(time.Millisecond),
		Flags: []string{}, Inputs: inputsOf(m), Extra: m.tr.Extra, Reasons: record.Reasons{},
	}
	if sp := m.ServerPrefillSpan; sp.Tokens > 0 {
		s.ServerPrefill = &record.ServerSpan{Tokens: sp.Tokens, NS: int64(sp.Time)}
	}
	if sp := m.ServerDecodeSpan; sp.Tokens > 0 {
		s.ServerDecode = &record.ServerSpan{Tokens: sp.Tokens, NS: int64(sp.Time)}
	}
	for _, f := range m.Flags {
		s.Flags = append(s.Flags, f.Name)
	}
	for name, v := range map[string]measure.Value{
		"ttft_ms": m.TTFT, "ttfa_ms": m.TTFA, "prefill_tps": m.prefill, "decode_tps": m.Decode, "wall_ms": m.Wall, "max_gap_ms": m.MaxGap, "window_tokens": m.Window,
	} {
		if !v.Known {
			s.Reasons[name] = v.Why
		}
	}
	if m.Over > 0 {
		s.DecodeOver = &m.Over
	}
	if m.Note != "" {
		s.Reasons["n_i"] = m.Note
	}
	if m.maxBound {
		s.Reasons["max_cached"] = "an upper bound: the server's count of the prompt that this one extends"
	}
	return s
}

// inputsOf is what Recompute needs of a request beside its recording.
func inputsOf(m *measured) *record.Inputs {
	return &record.Inputs{
		Release: m.release, Cold: m.Asked.Cold, Reuse: m.prompt.reuse, Extends: m.prompt.parent != nil,
		Template: m.Asked.Template, CacheBlock: m.Asked.CacheBlock, TextTokens: m.Asked.TextTokens, FirstTokens: m.Asked.FirstTokens,
	}
}

func countOf(c stream.Count) record.Count { return record.Count{N: intOf(c), From: string(c.From)} }
