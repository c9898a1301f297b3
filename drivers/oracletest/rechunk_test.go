package oracletest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// cutting is a way of reading a case's bytes.
type cutting struct {
	name  string
	fine  bool // no two writes are read at once
	reads []oracle.Read
}

// cuttings are ways of reading the bytes: each write byte by byte, in pieces of its own, or with others, and all of it with
// late stamps. A read ends when its last byte has been written, or a little later.
func cuttings(c *oracle.Case, seed uint64) []cutting {
	rng := rand.New(rand.NewPCG(seed, 17))
	var ends []int // of the writes
	n := 0
	for _, w := range c.Writes {
		n += len(w.Data)
		ends = append(ends, n)
	}
	stamped := func(bounds []int, late time.Duration) []oracle.Read {
		var reads []oracle.Read
		last := time.Duration(0)
		for _, b := range bounds {
			i, found := slices.BinarySearch(ends, b)
			if !found && i == len(ends) {
				i--
			}
			at := c.Writes[i].At
			if late > 0 {
				at += time.Duration(rng.Int64N(int64(late)))
			}
			if late > 0 {
				last++ // reads of one moment are looked at where nothing is late
			}
			last = max(last, at)
			reads = append(reads, oracle.Read{End: b, At: last})
		}
		return reads
	}
	random := func(mean int, keep bool) []int {
		var b []int
		for at := 1 + rng.IntN(2*mean); at < n; at += 1 + rng.IntN(2*mean) {
			b = append(b, at)
		}
		b = append(b, n)
		if keep {
			b = append(b, ends...)
		}
		slices.Sort(b)
		return slices.Compact(b)
	}
	mean := max(60, n/2000)
	out := []cutting{
		{"pieces of writes", true, stamped(random(mean, true), 0)},
		{"pieces of writes, stamped late", true, stamped(random(mean, true), 300*time.Microsecond)},
		{"anywhere", false, stamped(random(max(300, mean), false), 0)},
		{"anywhere, stamped late", false, stamped(random(max(300, mean), false), 300*time.Microsecond)},
		{"all at once", false, stamped([]int{n}, 0)},
	}
	if seed == 0 && n < 64<<10 {
		every := make([]int, n)
		for i := range every {
			every[i] = i + 1
		}
		out = append(out, cutting{"byte by byte", true, stamped(every, 0)})
	}
	return out
}

// TestRechunked reads the same bytes in other portions. Counts, texts and what the server states never change. A rate is
// that of the stamps, exactly; it may become unknown where reads took several writes at once, and never becomes known.
func TestRechunked(t *testing.T) {
	const seeds = 4
	for _, c := range oracle.Cases() {
		for seed := range uint64(seeds) {
			for _, cut := range cuttings(&c, seed) {
				t.Run(fmt.Sprintf("%s/%s/%d", c.Name, cut.name, seed), func(t *testing.T) { checkCutting(t, &c, cut) })
			}
			if len(c.Body()) > 1<<20 {
				break
			}
		}
	}
}

func checkCutting(t *testing.T, c *oracle.Case, cut cutting) {
	rec := record(c)
	rec.Reads = nil
	for _, r := range cut.reads {
		rec.Reads = append(rec.Reads, stream.Read{End: r.End, At: began + r.At})
	}
	s, tr, err := replay(c, rec)
	sameWords(t, wantWords(c), wordsOf(&s, &tr))
	if w := wrongError(c, err); w != "" {
		t.Error(w)
	}
	seen := c.Cut(cut.reads)
	truth := seen.Truth(seen.Moments())
	for _, f := range figures(c, &s, &truth) {
		switch merged := f.want.Why == "came in one read" || f.want.Why == "no gaps"; {
		case f.want.Why == "" && !f.got.Known && !cut.fine:
			continue // several writes in one read may leave too little
		case merged && c.Want.Events > 1:
			continue // other portions may tell apart what came at once
		}
		if w := f.wrong(true); w != "" && !(f.want.Why != "" && !f.got.Known && !cut.fine) {
			t.Error(w)
		}
	}
	if bad := slices.IndexFunc(s.Flags, func(f measure.Flag) bool {
		return !ownClock(f) && f.Name != "coalesced" && f.Name != "proxy_buffered" && !slices.Contains(c.Want.Flags, f.Name)
	}); bad >= 0 {
		t.Errorf("flag %v", s.Flags[bad])
	}
	if strings.HasPrefix(cut.name, "all") && s.Decode.Known {
		t.Errorf("decode %v out of one read", s.Decode.X)
	}
}
