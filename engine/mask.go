package engine

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// plainKeys are the JSON keys whose texts say nothing of what a model wrote or was told. Everything else is masked: a key
// that nobody has heard of may hold an answer.
var plainKeys = []string{
	"type", "object", "model", "role", "finish_reason", "native_finish_reason", "stop_reason", "stop_type", "provider",
	"service_tier", "system_fingerprint", "code", "status", "id", "created_at", "error", "message",
	"queue_time", "prompt_time", "completion_time", "total_time", "prompt-tokens", "cached-prompt-tokens", "server-time-to-first-token",
	"server-processing-time", "prefill-duration", "prefill-queue-duration", "generation-duration", "generation-queue-duration", "tokenizer-duration",
}

// masksText reports whether answers are kept without their text: those of hosted services, unless the user wants it.
func (r *run) masksText() bool { return r.opt.Spec.Kind == drivers.Hosted && !r.opt.KeepText }

// maskText puts x for every byte of text in a recording of JSON lines, so that no stamp moves to another byte and decoding
// gives the same events with as many bytes each, the same counts and the same figures. Keys, numbers, marks and the texts of
// plainKeys stay. The recording itself is not changed.
func maskText(rec stream.Recording) stream.Recording {
	out := bytes.Clone(rec.Data)
	start := 0
	for start < len(out) {
		end := len(out)
		if i := bytes.IndexByte(out[start:], '\n'); i >= 0 {
			end = start + i
		}
		maskLine(out[start:end])
		start = end + 1
	}
	rec.Data = out
	return rec
}

// maskLine masks one line. A string is a key where a colon follows it; one that the line cuts off is masked. A line in which no
// value of JSON begins (a comment, a name of an event) has no strings and stays.
func maskLine(line []byte) {
	key := ""
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '"':
		case '{', '}':
			key = ""
			continue
		default:
			continue
		}
		end, closed := stringEnd(line, i+1)
		if next := bytes.TrimLeft(line[min(end+1, len(line)):], " \t"); closed && len(next) > 0 && next[0] == ':' {
			key = string(line[i+1 : end])
		} else if !slices.Contains(plainKeys, key) {
			maskString(line[i+1 : end])
		}
		i = end
	}
}

// stringEnd finds the quote that ends a string, or the end of the line.
func stringEnd(line []byte, from int) (end int, closed bool) {
	for i := from; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i, true
		}
	}
	return len(line), false
}

// maskString masks the inside of a JSON string: each character by x's of its length, each escape by one of the same length
// that stands for as many bytes.
func maskString(s []byte) {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			s[i] = 'x'
			i++
			continue
		}
		if i+1 >= len(s) { // cut off
			s[i] = 'x'
			return
		}
		if s[i+1] != 'u' {
			s[i+1] = '/' // \/ is one byte
			i += 2
			continue
		}
		n := maskUnicode(s[i:])
		if n == 0 { // cut off, or no escape: it is not valid JSON anyway
			for ; i < len(s); i++ {
				s[i] = 'x'
			}
			return
		}
		i += n
	}
}

// maskUnicode masks the \u escape, or the pair of them, that s begins with, and gives its length; 0 where it is none.
func maskUnicode(s []byte) int {
	first, ok := hex4(s)
	if !ok {
		return 0
	}
	if first >= 0xd800 && first < 0xdc00 {
		if second, ok := hex4(s[6:]); ok && second >= 0xdc00 && second < 0xe000 {
			copy(s, `\ud83d\ude00`)
			return 12
		}
	}
	switch {
	case first >= 0xd800 && first < 0xe000: // alone, decoded as U+FFFD: three bytes
		copy(s, `\ufffd`)
	case utf8.RuneLen(rune(first)) == 1:
		copy(s, `\u0078`)
	case utf8.RuneLen(rune(first)) == 2:
		copy(s, `\u00e9`)
	default:
		copy(s, `\u6771`)
	}
	return 6
}

// hex4 reads the \uXXXX that s begins with.
func hex4(s []byte) (n int, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | int(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
