package framed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

func bytesOf(_ context.Context, text string) ([]int32, error) {
	ids := make([]int32, len(text))
	for i := range ids {
		ids[i] = int32(text[i])
	}
	return ids, nil
}

func plus(n int) Count {
	return func(_ context.Context, text string) (int, error) { return len(text) + n, nil }
}

var (
	errRefused = errors.New("refused")
	errDead    = errors.New("dead")
)

func TestLearn(t *testing.T) {
	for _, c := range []struct {
		name   string
		encode Encode
		count  Count
		around int
		why    string
		err    error
	}{
		{"a template of 9", bytesOf, plus(9), 9, "", nil},
		{"none", bytesOf, plus(0), 0, "", nil},
		{"fewer than the text", func(context.Context, string) ([]int32, error) { return make([]int32, 9999), nil }, plus(1), 0, "tokens more", nil},
		{"too many", bytesOf, plus(most + 1), 0, "tokens more", nil},
		{"another way to count", bytesOf, func(_ context.Context, text string) (int, error) { return len(strings.Fields(text)) + 9, nil }, 0, "for another", nil},
		{"no count", bytesOf, func(context.Context, string) (int, error) { return 0, nil }, 0, "does not count", nil},
		{"no tokenizer", func(context.Context, string) ([]int32, error) { return nil, errRefused }, plus(9), 0, "refused", nil},
		{"a tokenizer that talks nonsense", func(context.Context, string) ([]int32, error) { return nil, drivers.ErrProtocol }, plus(9), 0, "not understood", nil},
		{"a dead server", func(context.Context, string) ([]int32, error) { return nil, errDead }, plus(9), 0, "", errDead},
		{"a count that is refused", bytesOf, func(context.Context, string) (int, error) { return 0, errRefused }, 0, "refused", nil},
		{"a server that dies", bytesOf, func(context.Context, string) (int, error) { return 0, errDead }, 0, "", errDead},
	} {
		got, why, err := Learn(t.Context(), c.encode, c.count, func(err error) bool { return errors.Is(err, errRefused) })
		if !errors.Is(err, c.err) || !strings.Contains(why, c.why) || (got != nil) != (c.why == "" && c.err == nil) || got != nil && got.Around() != c.around {
			t.Errorf("%s: %v, %q, %v", c.name, got, why, err)
		}
	}
}

func TestTokenize(t *testing.T) {
	tok := &Tokenizer{bytesOf, 3}
	user := chat.Message{Role: "user", Content: "ab"}
	ids, err := tok.Tokenize(t.Context(), drivers.Prompt{Messages: []chat.Message{user}})
	if err != nil || !slices.Equal(ids, []int32{NotGiven, NotGiven, NotGiven, 'a', 'b'}) {
		t.Errorf("%v, %v", ids, err)
	}
	for name, p := range map[string]drivers.Prompt{
		"none":     {},
		"two":      {Messages: []chat.Message{user, user}},
		"a system": {Messages: []chat.Message{{Role: "system", Content: "x"}}},
		"a call":   {Messages: []chat.Message{{Role: "user", ToolCalls: []chat.ToolCall{{}}}}},
		"a tool":   {Messages: []chat.Message{user}, Tools: []chat.Tool{{}}},
	} {
		if _, err := tok.Tokenize(t.Context(), p); !errors.Is(err, drivers.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
