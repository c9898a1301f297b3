package engine

import "unicode"

// roughTokens is about how many tokens a text has on common tokenizers: words by their length, digits by three, every other
// mark for itself. It is never shown and counts nothing: the ratio of a server's own count of one piece of generated text to
// it foretells its count of a longer piece within about 1 %, where the ratio to words or bytes misses by several, because
// pieces of prose, lists and code are mixed differently.
func roughTokens(text string) float64 {
	const letters, digits, other = 1, 2, 3
	n, run, kind := 0.0, 0, 0
	shut := func() {
		switch kind {
		case letters:
			n += 1 + 0.15*float64(max(run-6, 0))
		case digits:
			n += float64((run + 2) / 3)
		}
		run = 0
	}
	for _, r := range text {
		k := other
		switch {
		case unicode.IsLetter(r):
			k = letters
		case unicode.IsDigit(r):
			k = digits
		}
		if k != kind {
			shut()
			kind = k
		}
		run++
		if k == other && !unicode.IsSpace(r) {
			n++
		}
	}
	shut()
	return n
}

// foretell finds the number of words at which a text of the given sizes comes to a target, by the ratio of counts to rough
// sizes between the first and the last of some counted pieces.
func foretell(target int, pieces []countedPiece, rough func(words int) float64) (words int) {
	first, last := pieces[0], pieces[len(pieces)-1]
	ratio := float64(last.tokens-first.tokens) / max(last.rough-first.rough, 1)
	size := func(words int) float64 { return float64(last.tokens) + ratio*(rough(words)-last.rough) }
	low, high := 0, last.words
	for size(high) < float64(target) && high < maxPromptLen {
		low, high = high, 2*high
	}
	for high-low > 1 {
		if mid := (low + high) / 2; size(mid) <= float64(target) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// countedPiece is a beginning of a text as the server counted it.
type countedPiece struct {
	words, tokens int
	rough         float64
}
