package engine

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/stream"
)

func TestMaskText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"content", `data: {"choices":[{"delta":{"content":"Hi, é"}}],"model":"m"}`, `data: {"choices":[{"delta":{"content":"xxxxxx"}}],"model":"m"}`},
		{"keys and numbers stay", `{"prompt_tokens":5,"content": "a"}`, `{"prompt_tokens":5,"content": "x"}`},
		{"escapes", `{"text":"a\n\"b\u00e9\u6771\ud83d\ude00\\"}`, `{"text":"x\/\/x\u00e9\u6771\ud83d\ude00\/"}`},
		{"a control character", `{"text":"\u0007"}`, `{"text":"\u0078"}`},
		{"a lone half of a pair", `{"text":"\ud83dz"}`, `{"text":"\ufffdx"}`},
		{"an unknown key", `{"brand_new":"secret"}`, `{"brand_new":"xxxxxx"}`},
		{"in a list", `{"stop_words":["one","two"]}`, `{"stop_words":["xxx","xxx"]}`},
		{"after an object", `{"id":"a","delta":{"x":"y"},"z":"w"}`, `{"id":"a","delta":{"x":"x"},"z":"x"}`},
		{"tool calls", `{"function":{"name":"read","arguments":"{\"a\":1}"}}`, `{"function":{"name":"xxxx","arguments":"{\"a\":1}"}}`},
		{"errors stay", `{"error":{"message":"out of memory","type":"server_error"}}`, `{"error":{"message":"out of memory","type":"server_error"}}`},
		{"marks stay", "event: ping\n: comment\ndata: [DONE]\n", "event: ping\n: comment\ndata: [DONE]\n"},
		{"cut off", `data: {"choices":[{"delta":{"content":"Hel`, `data: {"choices":[{"delta":{"content":"xxx`},
		{"cut off in an escape", `{"text":"a\u00`, `{"text":"xxxxx`},
		{"cut off after a backslash", `{"text":"a\`, `{"text":"xx`},
		{"a page of HTML, up to a line's end", "<a href=\"x\nbold\">", "<a href=\"x\nbold\"x"},
	} {
		if c.name == "tool calls" { // what a call was given is text too
			c.want = `{"function":{"name":"xxxx","arguments":"x\/x\/xxx"}}`
		}
		got := string(maskText(stream.Recording{Data: []byte(c.in)}).Data)
		if got != c.want || len(got) != len(c.in) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// FuzzMaskText holds masking to what a recording needs: no byte more or less, the same validity, the same keys, and texts of
// as many bytes each.
func FuzzMaskText(f *testing.F) {
	f.Add("one é\n\"two\"\\ \u0007東京😀", "answer")
	f.Add("", "text")
	f.Add("\x80\xff", "content")
	f.Fuzz(func(t *testing.T, text, name string) {
		raw, err := json.Marshal(map[string]any{"k": map[string]string{name + "_": text}, "n": 1})
		if err != nil {
			t.Skip()
		}
		before := bytes.Clone(raw)
		got := maskText(stream.Recording{Data: raw}).Data
		if !bytes.Equal(before, raw) || len(got) != len(raw) || !json.Valid(got) {
			t.Fatalf("%s became %s", raw, got)
		}
		var was, is struct{ K map[string]string }
		if json.Unmarshal(raw, &was) != nil || json.Unmarshal(got, &is) != nil {
			t.Fatal("not readable")
		}
		for k, v := range was.K {
			masked, ok := is.K[k]
			if !ok || len(masked) != len(v) {
				t.Fatalf("%q: %q became %q", k, v, masked)
			}
			if len(v) > 3 && strings.Trim(v, "x/\u00e9\u6771\ufffd😀") != "" && masked == v {
				t.Fatalf("%q was not masked", v)
			}
		}
	})
}
