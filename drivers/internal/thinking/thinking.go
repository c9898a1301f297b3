// Package thinking finds the thinking block of a raw completion, in which its marks stand as text.
//
// Endpoints that render no chat template stream whatever the model writes: a model that thinks opens a block, or finds it
// opened by the prompt, and closes it before its answer. Endpoints that tell thinking apart by themselves need none of this.
// A mark that a server does not show can't be seen: such thinking stays content.
package thinking

import (
	"strings"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// mark is how a family of models writes a block.
type mark struct{ opens, closes string }

func marks() [3]mark {
	return [...]mark{{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}, {"<seed:think>", "</seed:think>"}}
}

// Open reports whether a rendered prompt, or the end of it, ends inside a block, so that the completion begins in one.
func Open(prompt string) bool {
	prompt = strings.TrimRight(prompt, " \r\n\t")
	for _, m := range marks() {
		if strings.HasSuffix(prompt, m.opens) {
			return true
		}
	}
	return false
}

// Mark turns the content events of a thinking block into reasoning, in place. open says that the prompt ended inside one. An
// event that has the closing mark in it still is reasoning. It gives the tokens of the block, those without text between its
// events included; false where there is no block, or where not each of its events states its tokens.
func Mark(events []stream.Event, open bool) (tokens int, ok bool) {
	end := blockEnd(events, open)
	if end < 0 {
		return 0, false
	}
	ok = true
	for i := range end {
		e := &events[i]
		if e.Kind == stream.Content {
			e.Kind = stream.Reasoning
		}
		if e.Tokens == stream.NotStated {
			ok = false
		} else {
			tokens += e.Tokens
		}
	}
	if !ok {
		return 0, false
	}
	return tokens, true
}

// longestMark is the length in bytes of the longest mark, and a little more.
const longestMark = 16

// blockEnd is the number of events up to the one that closes the block, all where none does, -1 where there is no block.
func blockEnd(events []stream.Event, inside bool) int {
	var text strings.Builder
	for i := range events {
		if events[i].Kind != stream.Content {
			continue
		}
		text.WriteString(events[i].Text)
		if !inside {
			begins, may := begin(strings.TrimLeft(text.String(), " \r\n\t"))
			if !begins && !may {
				return -1
			}
			if inside = begins; !inside {
				continue
			}
		}
		if closes(text.String()) {
			return i + 1
		}
		if s := text.String(); len(s) > 4*longestMark { // only a mark that is cut in two needs the text before
			text.Reset()
			text.WriteString(s[len(s)-longestMark:])
		}
	}
	if !inside {
		return -1 // nothing, blanks, or a start that never became a mark
	}
	return len(events)
}

// begin says whether a text begins with an opening mark, or, short as it is, still may.
func begin(text string) (begins, may bool) {
	for _, m := range marks() {
		begins = begins || strings.HasPrefix(text, m.opens)
		may = may || strings.HasPrefix(m.opens, text)
	}
	return begins, may
}

// closes reports whether a text has a closing mark. Whose does not matter: nobody writes another family's inside a block.
func closes(text string) bool {
	for _, m := range marks() {
		if strings.Contains(text, m.closes) {
			return true
		}
	}
	return false
}
