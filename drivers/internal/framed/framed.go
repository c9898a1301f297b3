// Package framed counts prompts for servers that tokenize text and render no conversation: what the chat template puts around
// the text of one user message is a fixed number of tokens, which is measured once.
//
// It counts conversations of a single user message, as generated prompts are; all others are drivers.ErrUnsupported. It makes
// no call of its own, and is not used where the measured number is not the same for texts of different kinds.
package framed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// NotGiven stands in the place of the template's tokens, all of which come first, those behind the text too: how many they
// are is known, and which is not.
const NotGiven = -1

// Encode gives the token ids of a text by itself.
type Encode func(ctx context.Context, text string) ([]int32, error)

// Count gives the prompt tokens that the server counts for a conversation of one user message.
type Count func(ctx context.Context, text string) (int, error)

// Tokenizer counts conversations of one user message.
type Tokenizer struct {
	encode Encode
	around int // tokens of the template
}

// Around is how many tokens the template puts around a text.
func (t *Tokenizer) Around() int { return t.around }

// most is how many tokens a template may have; more is no template.
const most = 4096

// texts are of different kinds and lengths; the last is as long as a prompt.
func texts() [3]string {
	return [...]string{"a", "Say hello. Dites bonjour; 東京 2,048 <b>x_1</b>", strings.Repeat("The lake lay still, and over it went the geese in a long line. ", 40) + "\n\nWrite on."}
}

// Learn compares the two counts on a few texts. Where they do not differ by the same number the tokenizer is nil, and why
// says what was seen; likewise where refused says of an error that it is about this one question. Other errors are passed on.
func Learn(ctx context.Context, encode Encode, count Count, refused func(error) bool) (t *Tokenizer, why string, err error) {
	around := 0
	for i, text := range texts() {
		ids, err := encode(ctx, text)
		if err != nil {
			if refused(err) || errors.Is(err, drivers.ErrProtocol) {
				return nil, err.Error(), nil
			}
			return nil, "", err
		}
		n, err := count(ctx, text)
		switch {
		case err != nil && refused(err):
			return nil, err.Error(), nil
		case err != nil:
			return nil, "", err
		case n == 0:
			return nil, "the server does not count prompts", nil
		case i == 0:
			around = n - len(ids)
		}
		if d := n - len(ids); d != around || d < 0 || d > most {
			return nil, fmt.Sprintf("the server counts %d tokens more than its tokenizer for one text and %d more for another", around, d), nil
		}
	}
	return &Tokenizer{encode, around}, "", nil
}

// Tokenize gives the ids of a conversation of one user message, with NotGiven for the template's; drivers.ErrUnsupported for
// every other.
func (t *Tokenizer) Tokenize(ctx context.Context, p drivers.Prompt) ([]int32, error) {
	if len(p.Messages) != 1 || !isPlain(p.Messages[0]) || len(p.Tools) > 0 {
		return nil, fmt.Errorf("%w: this server's tokenizer takes text only, and how its template joins several messages is not known", drivers.ErrUnsupported)
	}
	text, err := t.encode(ctx, p.Messages[0].Content)
	if err != nil {
		return nil, err
	}
	ids := make([]int32, t.around, t.around+len(text))
	for i := range ids {
		ids[i] = NotGiven
	}
	return append(ids, text...), nil
}

func isPlain(m chat.Message) bool { return m.Role == "user" && len(m.ToolCalls) == 0 }
