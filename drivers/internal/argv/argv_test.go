package argv

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                      nil,
		"  \t ":                 nil,
		"-a b":                  {"-a", "b"},
		`--x "a b" 'c "d"' e`:   {"--x", "a b", `c "d"`, "e"},
		`a"b c"d`:               {"ab cd"},
		`""`:                    {""},
		`--json '{"k": "v"}' x`: {"--json", `{"k": "v"}`, "x"},
	} {
		if got, err := Split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, %v; want %q", line, got, err, want)
		}
	}
	if _, err := Split(`a "b`); err == nil {
		t.Error("a quote without end is taken")
	}
}

func TestShown(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--tp", "2"}, "--tp 2"},
		{[]string{"--api-key", "sk-1", "--x"}, "--api-key *** --x"},
		{[]string{"--api-key=sk-1"}, "--api-key=***"},
		{[]string{"--hf-token", "hf_1"}, "--hf-token ***"},
		{[]string{"--api-key", "--x"}, "--api-key --x"},
		{[]string{"--chat-template", "/home/me/t.jinja", "--f=/home/me/x"}, "--chat-template t.jinja --f=x"},
		{[]string{"--max-num-batched-tokens", "2048"}, "--max-num-batched-tokens 2048"},
	} {
		if got := Shown(c.args); got != c.want {
			t.Errorf("Shown(%q) = %q, want %q", c.args, got, c.want)
		}
	}
}

// FuzzSplit holds that nothing breaks it, and that no word has a blank that was not quoted.
func FuzzSplit(f *testing.F) {
	f.Add(`a "b c" 'd`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Split(line)
		if err == nil {
			_ = Shown(words)
		}
	})
}
