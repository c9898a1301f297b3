package judge

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Cutting is a way of reading a case's bytes.
type Cutting struct {
	Name  string
	Fine  bool // no two writes are read at once
	Reads []oracle.Read
}

// Cuttings are ways of reading the bytes: each write byte by byte, in pieces of its own, or with others, and all of it with
// late stamps. A read ends when its last byte has been written, or a little later.
func Cuttings(c *oracle.Case, seed uint64) []Cutting {
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
	out := []Cutting{
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
		out = append(out, Cutting{"byte by byte", true, stamped(every, 0)})
	}
	return out
}

// Apply makes a recording read in a cutting's portions.
func (cut Cutting) Apply(rec stream.Recording) stream.Recording {
	rec.Reads = nil
	for _, r := range cut.Reads {
		rec.Reads = append(rec.Reads, stream.Read{End: r.End, At: Began + r.At})
	}
	return rec
}

// Wrong says what is wrong with a sample measured through a cutting. A rate is that of the stamps, exactly; it may become
// unknown where reads took several writes at once, and never becomes known.
func (cut Cutting) Wrong(c *oracle.Case, s *measure.Sample) []string {
	var out []string
	seen := c.Cut(cut.Reads)
	truth := seen.Truth(seen.Moments())
	for _, f := range Figures(c, s, &truth) {
		switch merged := f.Want.Why == "came in one read" || f.Want.Why == "no gaps"; {
		case f.Want.Why == "" && !f.Got.Known && !cut.Fine:
			continue // several writes in one read may leave too little
		case merged && c.Want.Events > 1:
			continue // other portions may tell apart what came at once
		}
		if w := f.Wrong(true); w != "" && !(f.Want.Why != "" && !f.Got.Known && !cut.Fine) {
			out = append(out, w)
		}
	}
	if bad := slices.IndexFunc(s.Flags, func(f measure.Flag) bool {
		return !OwnClock(f) && f.Name != "coalesced" && f.Name != "proxy_buffered" && !slices.Contains(c.Want.Flags, f.Name)
	}); bad >= 0 {
		out = append(out, "flag "+s.Flags[bad].Name+": "+s.Flags[bad].Evidence)
	}
	if strings.HasPrefix(cut.Name, "all") && s.Decode.Known {
		out = append(out, "a decode rate out of one read")
	}
	return out
}
