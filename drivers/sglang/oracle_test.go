package sglang

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestOracleIncremental plays the streams of a server that was started with --incremental-streaming-output, and of one of which
// it is not known. The conformance suite plays those of the others.
func TestOracleIncremental(t *testing.T) {
	d := oracle.DialectOf("sglang-incremental")
	if d == nil {
		t.Fatal("package oracle has no dialect sglang-incremental")
	}
	for _, sent := range []map[string]string{{sentText: textDelta}, nil} {
		played := 0
		for _, c := range d.Cases() {
			rec := judge.Recording(&c, stream.Recording{Protocol: protocol, Sent: sent})
			for i, cut := range append([]judge.Cutting{{}}, judge.Cuttings(&c, 1)...) {
				this := rec
				if i > 0 {
					this = cut.Apply(rec)
				}
				tr, err := Decode(this)
				s := measure.Request(this, tr, judge.Asked(&c, err))
				if d := cmp.Diff(judge.WantWords(&c), judge.WordsOf(&s, &tr)); d != "" {
					t.Errorf("%s, %s, sent %v: (- want, + got)\n%s", c.Name, cut.Name, sent, d)
				}
				wrong := []string{judge.WrongError(&c, err)}
				if i > 0 {
					wrong = append(wrong, cut.Wrong(&c, &s)...)
				} else {
					wrong = append(wrong, judge.WrongFlags(&c, &s))
					for _, f := range judge.Figures(&c, &s, nil) {
						wrong = append(wrong, f.Wrong(true))
					}
				}
				for _, w := range wrong {
					if w != "" {
						t.Errorf("%s, %s, sent %v: %s", c.Name, cut.Name, sent, w)
					}
				}
			}
			played++
		}
		if played < 30 {
			t.Errorf("only %d cases", played)
		}
	}
}
