package sglang

import (
	"strings"
	"unicode/utf8"
)

// SGLang's events hold the whole text so far, unless the server was started with --incremental-streaming-output (older:
// --stream-output, which in some versions leaves the text as it was). What a stream does is read off its texts.

// How a stream's events hold their text.
const (
	textWhole = "whole" // all of it so far
	textDelta = "delta" // what is new
)

// replaced is what a tokenizer writes for bytes that are no whole character (yet).
const replaced = string(utf8.RuneError)

// shape tells which of the two the texts of a stream are. hint is what the server was seen to do, and decides where the
// texts fit both; without it, texts that never grow are new ones each.
func shape(texts []string, hint string) string {
	filled, grown, broken := 0, 0, 0
	last := ""
	for _, t := range texts {
		if t == "" && last == "" {
			continue
		}
		if filled++; filled > 1 {
			switch {
			case !continues(last, t):
				broken++
			case len(t) > len(last):
				grown++
			}
		}
		last = t
	}
	switch {
	case filled < 2:
		return hint
	case 2*broken >= filled-1 && broken > 0:
		return textDelta
	case grown >= sureGrowth:
		return textWhole
	case hint != "":
		return hint
	case grown > 0:
		return textWhole
	}
	return textDelta
}

// sureGrowth is how often in a row of texts each has to hold the one before to rule out chance.
const sureGrowth = 4

// continues reports whether one text can be the whole text after another: it starts with it, but for characters at its end
// that were not whole yet.
func continues(before, after string) bool {
	return strings.HasPrefix(after, strings.TrimRight(before, replaced))
}

// deltas turns whole texts into what each adds; rewritten says that a text changed what an earlier one had said. A
// replacement character at the end of a text may still become another one, so that it is held back until a later text, or the
// end of a whole stream, shows that it stays. Texts are only looked at past what is known, so that the work grows with their length as they do.
func deltas(texts []string, whole bool) (added []string, rewritten bool) {
	added = make([]string, len(texts))
	said := ""
	last := -1
	for i, t := range texts {
		if t != "" {
			last = i
		}
	}
	for i, t := range texts {
		if t == "" {
			continue // nothing yet, or an event that only ends the stream
		}
		if i != last || !whole {
			t = strings.TrimRight(t, replaced)
		}
		switch {
		case strings.HasPrefix(t, said):
			added[i] = t[len(said):]
			said = t
		case strings.HasPrefix(said, t): // some of it was taken off again
			rewritten = true
		default:
			rewritten = true
			added[i] = t[common(said, t):]
			said = t
		}
	}
	return added, rewritten
}

// common is the length in bytes of what two texts share at their start, in whole characters.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(b) && !utf8.RuneStart(b[n]) {
		n--
	}
	return n
}
