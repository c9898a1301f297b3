package engine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
)

// rowFlags are the flags of a row: of its requests, its batches, its passes and the run.
func (r *run) rowFlags(st *rowState, row *record.Row) []record.Flag {
	flags := []record.Flag{}
	var samples []measure.Sample
	var seen []record.Flag
	for _, p := range st.passes {
		for i := range p.samples {
			s := p.samples[i].Sample
			if s.Failed() { // what else is odd about half a stream is a consequence
				s.Flags = slices.DeleteFunc(slices.Clone(s.Flags), func(f measure.Flag) bool { return f.Name != measure.Errors })
			}
			samples = append(samples, s)
			for _, f := range p.samples[i].seen {
				seen = addFlag(seen, f)
			}
		}
	}
	flags = append(flags, flagsOf(samples)...)
	for _, p := range st.passes {
		for _, b := range p.batches {
			for _, f := range b.Flags {
				flags = addFlag(flags, record.Flag{Name: f.Name, Evidence: f.Evidence})
			}
		}
		if p.err != nil && !p.ceiling {
			flags = addFlag(flags, record.Flag{Name: measure.Errors, Evidence: fmt.Sprintf("pass %d: %v", p.pass, p.err)})
		}
	}
	if f, late := measure.ClientLag(samples); late {
		flags = addFlag(flags, record.Flag{Name: f.Name, Evidence: f.Evidence})
	}
	for _, f := range seen {
		flags = addFlag(flags, f)
	}
	if row != nil {
		for _, f := range row.Flags { // what the figures have raised
			flags = addFlag(flags, f)
		}
	}
	for _, f := range r.runFlag {
		flags = addFlag(flags, f)
	}
	if st.session != nil {
		for _, name := range slices.Sorted(maps.Keys(st.session.info.Flags)) {
			flags = addFlag(flags, record.Flag{Name: name, Evidence: r.redactText(st.session.info.Flags[name])})
		}
	}
	if r.opt.Spec.Kind == drivers.Simulated || (r.first != nil && r.first.Simulated) {
		flags = addFlag(flags, record.Flag{Name: "simulated", Evidence: "the answers come from the built-in simulator"})
	}
	if r.opt.Quick {
		flags = addFlag(flags, record.Flag{Name: "quick", Evidence: "a quick run: smaller shapes, never compared with full ones"})
	}
	return flags
}

// guessed reports whether any request's tokens were put on its events by an estimate that no tokenizer has borne out.
func guessed(all []measured) bool {
	return slices.ContainsFunc(all, func(m measured) bool { return m.TokensHow == measure.Estimated && m.Asked.TextTokens == 0 })
}

// rankableFlags reports whether a row with these flags may be ranked. A flag that only describes (coalesced events, an
// unsteady figure, a slow power state) does not take a row off the ranking; one that puts its numbers in doubt does.
func rankableFlags(flags []record.Flag) bool {
	for _, f := range flags {
		switch f.Name {
		case measure.Coalesced, measure.Unstable, "on_battery", "thermal", "cpu_fallback":
		default:
			return false
		}
	}
	return true
}

// rankableRun reports whether the run as a whole may be ranked: an official suite, a model whose weights are known.
func (r *run) rankableRun() bool {
	known := r.result.Model.Digest != "" && r.result.Model.Quant != ""
	if r.opt.Spec.Kind == drivers.Hosted {
		known = r.result.Model.Name != ""
	}
	return r.opt.Official && known && len(r.runFlag) == 0
}
