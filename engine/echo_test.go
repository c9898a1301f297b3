package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const private = "My doctor says that the\nthird \"tablet\" is the one to leave out on Sundays."

func asks(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "system", Content: "You are a careful listener to everybody."}, {Role: "user", Content: text}}}
}

func TestErrorsDoNotRepeatPrompts(t *testing.T) {
	var e echoes
	e.sent(asks("something else altogether, which nobody asks about"))
	e.sent(asks(private))
	for _, c := range []struct{ in, want string }{
		{"invalid value: 'My doctor says that the third \"tablet\" is the one to leave' at messages[1]", "invalid value: '…' at messages[1]"},
		{"bad: listener to everybody. My doctor says: no", "bad:…My doctor says: no"},
		{"Unsupported parameter: max_tokens; use max_completion_tokens", "Unsupported parameter: max_tokens; use max_completion_tokens"},
		{"says that the third", "says that the third"}, // too little to tell
		{"", ""},
	} {
		if got := e.without(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	big := strings.Repeat("a word and another ", 1<<20/8)
	for i := range 8 {
		e.sent(asks(fmt.Sprint(big, i)))
	}
	if len(e.texts) > 3 || e.size > mostEchoes+len(big)+100 {
		t.Errorf("%d texts of %d bytes are kept", len(e.texts), e.size)
	}
}

func TestRecordingsDoNotRepeatPrompts(t *testing.T) {
	for _, c := range []struct {
		name, in string
		status   int
		gone     []string
		stays    string
	}{
		{"a refusal", `{"error":{"message":"can't take: My doctor says that the\nthird \"tablet\" is the one to leave out","code":"bad_value"}}`, 400, []string{"doctor", "one to leave"}, "can't take:"},
		{"a page", "<p>My doctor says that the third \"tablet\" is</p>", 502, []string{"doctor", "tablet"}, "<p>"},
		{"inside a stream", "data: {\"id\":\"a\"}\n\ndata: {\"error\":{\"message\":\"gave up at My doctor says that the third\"}}\n\n", 200, []string{"doctor"}, "gave up at"},
	} {
		in := stream.Recording{Status: c.status, Data: []byte(c.in)}
		got := string(maskEchoes(maskText(in), asks(private)).Data)
		for _, w := range c.gone {
			if strings.Contains(got, w) {
				t.Errorf("%s: %q is still in %s", c.name, w, got)
			}
		}
		if !strings.Contains(got, c.stays) || len(got) != len(c.in) || string(in.Data) != c.in {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
