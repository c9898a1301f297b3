package oracletest

import (
	"fmt"
	"testing"

	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
)

// TestRechunked reads the same bytes in other portions. Counts, texts and what the server states never change. A rate is
// that of the stamps, exactly; it may become unknown where reads took several writes at once, and never becomes known.
func TestRechunked(t *testing.T) {
	const seeds = 4
	for _, c := range oracle.Cases() {
		for seed := range uint64(seeds) {
			for _, cut := range judge.Cuttings(&c, seed) {
				t.Run(fmt.Sprintf("%s/%s/%d", c.Name, cut.Name, seed), func(t *testing.T) { checkCutting(t, &c, cut) })
			}
			if len(c.Body()) > 1<<20 {
				break
			}
		}
	}
}

func checkCutting(t *testing.T, c *oracle.Case, cut judge.Cutting) {
	s, tr, err := replay(c, cut.Apply(record(c)))
	sameWords(t, judge.WantWords(c), judge.WordsOf(&s, &tr))
	for _, w := range append(cut.Wrong(c, &s), judge.WrongError(c, err)) {
		if w != "" {
			t.Error(w)
		}
	}
}
