package sim

import "unicode/utf8"

// pieceLen is the longest piece of a word, in letters, that is one token. With 6 natural English has about 1.3 tokens a word.
const pieceLen = 6

// Tokenize cuts text into tokens and gives their ids: a word with the space before it, in pieces of at most pieceLen
// letters; digits by three; a run of line ends; a run of blanks but for the last one; every other character alone. An id
// is a hash of the piece's bytes, 31 bits.
func Tokenize(text string) []int32 { return appendTokens(make([]int32, 0, len(text)/4+8), text) }

func appendTokens(dst []int32, s string) []int32 {
	for i := 0; i < len(s); {
		j := tokenEnd(s, i)
		dst = append(dst, tokenID(s[i:j]))
		i = j
	}
	return dst
}

// tokenEnd is where the token that starts at i ends.
func tokenEnd(s string, i int) int {
	switch c := s[i]; {
	case c == '\n' || c == '\r':
		return run(s, i, len(s), func(c byte) bool { return c == '\n' || c == '\r' })
	case c == '\t':
		return run(s, i, len(s), func(c byte) bool { return c == '\t' })
	case c == ' ':
		j := run(s, i, len(s), func(c byte) bool { return c == ' ' })
		if j == len(s) || s[j] == '\n' || s[j] == '\r' || s[j] == '\t' {
			return j
		}
		if j-1 > i {
			return j - 1
		}
		i = j
	}
	switch c := s[i]; {
	case letter(c):
		return run(s, i, i+pieceLen, letter)
	case digit(c):
		return run(s, i, i+3, digit)
	case c < utf8.RuneSelf:
		return i + 1
	}
	_, n := utf8.DecodeRuneInString(s[i:])
	return i + n
}

func run(s string, i, limit int, is func(byte) bool) int {
	for i < len(s) && i < limit && is(s[i]) {
		i++
	}
	return i
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// tokenID is FNV-1a without its top bit.
func tokenID(piece string) int32 {
	h := uint32(2166136261)
	for i := range len(piece) {
		h = (h ^ uint32(piece[i])) * 16777619
	}
	return int32(h & 0x7fffffff)
}

// words are what the simulated model says: each is one token, with the space before it or without.
var words = [...]string{
	" the", " a", " of", " and", " to", " in", " is", " that", " it", " was", " for", " on", " as", " with", " be", " at", " by", " this",
	" from", " or", " an", " are", " not", " which", " but", " have", " had", " has", " one", " their", " there", " were", " when", " what",
	" all", " can", " if", " more", " who", " out", " so", " up", " said", " its", " about", " than", " into", " them", " only", " some",
	" time", " could", " these", " two", " may", " then", " do", " first", " any", " my", " now", " such", " like", " our", " over", " even",
	" most", " made", " after", " also", " many", " before", " must", " years", " where", " much", " way", " well", " down", " should",
	" file", " line", " test", " code", " value", " reads", " writes", " calls", " loop", " name", " list", " table", " river", " stone",
	" light", " house", " water", " paper", " green", " small", " large", " early", " later", " north", " south", " market", " letter",
}

// wide are characters of several bytes for the trap split-utf8.
var wide = [...]string{"é", "ü", "–", "語", "🙂"}

// random is a splitmix64 sequence: small, fast and the same everywhere.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// say generates n tokens of output: their texts, each of which is one token of Tokenize.
func say(n int, seed uint64) []token {
	r := random(seed)
	out := make([]token, n)
	for i := range out {
		x := r.next()
		text := words[x%uint64(len(words))]
		switch {
		case i == 0:
			text = text[1:]
		case x>>32%14 == 0 && i > 1 && out[i-1].text != ".":
			text = "."
		}
		out[i] = token{id: tokenID(text), text: text, kind: kindContent}
	}
	return out
}
