package pick

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
)

func TestIndex(t *testing.T) {
	offered := []Offered{
		{ID: "nomic-embed-text"}, {ID: "qwen3-8b", Aliases: []string{"qwen3"}}, {ID: "/models/llama-3.1-8b"}, {ID: "llama-3.1-8b-instruct"},
	}
	for _, c := range []struct {
		ref  string
		want int
		err  error
		says string
	}{
		{"", 1, nil, ""}, // the first that generates text
		{"qwen3-8b", 1, nil, ""},
		{"qwen3", 1, nil, ""},
		{"llama-3.1-8b", 2, nil, ""}, // without its folder
		{"/models/llama-3.1-8b", 2, nil, ""},
		{"nomic-embed-text", 0, nil, ""}, // asked for by name: the user's choice
		{"qwen3-9b", -1, drivers.ErrModelNotFound, "did you mean qwen3-8b?"},
		{"LLAMA", -1, drivers.ErrModelNotFound, "did you mean llama-3.1-8b, llama-3.1-8b-instruct?"},
		{"zzz", -1, drivers.ErrModelNotFound, "it serves nomic-embed-text, qwen3-8b, llama-3.1-8b, llama-3.1-8b-instruct"},
	} {
		i, err := Index(c.ref, offered)
		if i != c.want || !errors.Is(err, c.err) || err != nil && (!strings.HasSuffix(err.Error(), c.says) || strings.Contains(err.Error(), "/models/")) {
			t.Errorf("Index(%q) = %d, %v; want %d, %v: %s", c.ref, i, err, c.want, c.err, c.says)
		}
	}
	if i, err := Index("", nil); i != -1 || !errors.Is(err, drivers.ErrNoModel) {
		t.Errorf("nothing offered: %d, %v", i, err)
	}
	if i, err := Index("", []Offered{{ID: "bge-reranker"}, {ID: "whisper-1"}}); i != -1 || !errors.Is(err, drivers.ErrNoModel) {
		t.Errorf("nothing that generates text: %d, %v", i, err)
	}
}

func TestSuggestOfMany(t *testing.T) {
	var ids []string
	for i := range 8 {
		ids = append(ids, fmt.Sprintf("model-%d", i))
	}
	if got, want := Suggest("qqqqqqqqqq", ids), "it serves model-0, model-1, model-2, model-3, model-4 and 3 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Suggest("model-7x", ids), "did you mean model-7, "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin %q: the closest first", got, want)
	}
}

// Names of a megabyte would take a day to compare.
func TestSuggestOfHugeNames(t *testing.T) {
	if got := Suggest(strings.Repeat("a", 1<<20), []string{strings.Repeat("b", 1<<20)}); !strings.HasPrefix(got, "it serves ") {
		t.Errorf("huge names: %.100s", got)
	}
}
