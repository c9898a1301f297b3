package prose

import "math/bits"

// random is SplitMix64 (Steele, Lea and Flood 2014; Vigna's public domain form). It is written out here because text must
// stay the same to the byte for as long as its generator's name does; the standard library promises no such stream.
type random struct{ state uint64 }

// newRandom starts a stream for a purpose: FNV-1a over the purpose, a zero byte and the label, mixed into the seed.
func newRandom(seed uint64, purpose, label string) *random {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, s := range [...]string{purpose, "\x00", label} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	r := &random{state: seed}
	r.state = r.next() ^ h
	return r
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below gives 0 <= x < n: the high word of next * n. The bias of at most n/2^64 does not matter here.
func (r *random) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// between gives low <= x <= high.
func (r *random) between(low, high int) int { return low + r.below(high-low+1) }
