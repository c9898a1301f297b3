package thinking

import (
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/stream"
)

func TestOpen(t *testing.T) {
	for text, want := range map[string]bool{
		"<|im_start|>assistant\n<think>\n": true, "<think>": true, "[THINK]": true, "<seed:think> ": true,
		"<think>\n\n</think>\n\n": false, "assistant\n": false, "": false, "<thin": false, "<think> so": false,
	} {
		if Open(text) != want {
			t.Errorf("Open(%q) = %v", text, !want)
		}
	}
}

// kinds writes the kinds of events as letters: c content, r reasoning, s silent, t tool.
func kinds(events []stream.Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteByte("scrt"[e.Kind])
	}
	return b.String()
}

func TestMark(t *testing.T) {
	const silent = "\x00"
	for _, c := range []struct {
		name  string
		texts []string
		open  bool
		want  string
		n     int
		ok    bool
	}{
		{"no block", []string{"Hello", " there"}, false, "cc", 0, false},
		{"a block", []string{"<think>", "hm", "</think>", "yes"}, false, "rrrc", 3, true},
		{"marks cut in two", []string{"<th", "ink>", "hm</th", "ink>", "yes"}, false, "rrrrc", 4, true},
		{"blanks first", []string{"\n", "<think>", "x</think>", "y"}, false, "rrrc", 3, true},
		{"a start that is none", []string{"<th", "e>", "x"}, false, "ccc", 0, false},
		{"a start that stays one", []string{"<th"}, false, "c", 0, false},
		{"blanks only", []string{" ", "\n"}, false, "cc", 0, false},
		{"open, closed", []string{"hm", "</think>", "yes"}, true, "rrc", 2, true},
		{"open, never closed", []string{"hm", "so", "on"}, true, "rrr", 3, true},
		{"open, tokens without text", []string{"hm", silent, "</think>", silent, "yes"}, true, "rsrsc", 3, true},
		{"never closed", []string{"<think>", "so", "on"}, false, "rrr", 3, true},
		{"mark late in the answer", []string{"x", "<think>", "</think>"}, false, "ccc", 0, false},
		{"another family", []string{"[THINK]", "hm[/THI", "NK]", "yes"}, false, "rrrc", 3, true},
		{"open and nothing", nil, true, "", 0, true},
		{"closing mark after much text", []string{"<think>", strings.Repeat("word ", 100), "<", "/", "think", ">", "yes"}, false, "rrrrrrc", 6, true},
	} {
		var events []stream.Event
		for _, text := range c.texts {
			e := stream.Event{Kind: stream.Content, Text: text, Tokens: 1}
			if text == silent {
				e = stream.Event{Kind: stream.Silent, Tokens: 1}
			}
			events = append(events, e)
		}
		n, ok := Mark(events, c.open)
		if kinds(events) != c.want || n != c.n || ok != c.ok {
			t.Errorf("%s: %s, %d, %v; want %s, %d, %v", c.name, kinds(events), n, ok, c.want, c.n, c.ok)
		}
	}
	events := []stream.Event{{Kind: stream.Content, Text: "<think>a", Tokens: 1}, {Kind: stream.Content, Text: "b", Tokens: stream.NotStated}}
	if n, ok := Mark(events, false); ok || n != 0 || kinds(events) != "rr" {
		t.Errorf("tokens not stated: %d, %v, %s", n, ok, kinds(events))
	}
}

// FuzzMark holds that the cut of the text into events changes nothing but where the block ends inside an event, and that
// events before the block's end, and no others, are reasoning.
func FuzzMark(f *testing.F) {
	f.Add("<think>a</think>b", uint8(3), false)
	f.Add("x</think>", uint8(1), true)
	f.Add("[THINK][/THINK]", uint8(7), false)
	f.Fuzz(func(t *testing.T, text string, step uint8, open bool) {
		cut := func(n int) []stream.Event {
			var events []stream.Event
			for i := 0; i < len(text); i += n {
				events = append(events, stream.Event{Kind: stream.Content, Text: text[i:min(i+n, len(text))], Tokens: 1})
			}
			return events
		}
		length := func(events []stream.Event) int {
			n, answer := 0, false
			for _, e := range events {
				if e.Kind == stream.Reasoning {
					if answer {
						t.Fatal("reasoning after the answer")
					}
					n += len(e.Text)
				} else {
					answer = true
				}
			}
			return n
		}
		fine, coarse := cut(1), cut(max(int(step), 1))
		Mark(fine, open)
		Mark(coarse, open)
		a, b := length(fine), length(coarse)
		if b < a || b-a >= max(int(step), 1) {
			t.Fatalf("the block has %d bytes in bytes and %d in pieces of %d", a, b, step)
		}
	})
}
