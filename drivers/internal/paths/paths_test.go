package paths

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"/home/u/models/x.gguf": "x.gguf", `C:\Users\u\x.gguf`: "x.gguf", "d:/m/x.gguf": "x.gguf", `\\nas\u\x.gguf`: "x.gguf", "~/x.gguf": "x.gguf",
		"org/model": "org/model", "gpt-4o": "gpt-4o", "models/x.gguf": "models/x.gguf", "a:b": "a:b", "llama3:8b": "llama3:8b", "": "",
		"***************x.gguf": "x.gguf", "***": "***",
	} {
		if got := Shown(in); got != want {
			t.Errorf("Shown(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFolders(t *testing.T) {
	got := Folders("/home/u/m/x.gguf", "/home/u/m/y.gguf", "org/model", "/x.gguf", "", `C:\Users\u\x.gguf`)
	want := []string{`C:\\Users\\u\\`, `C:\Users\u\`, "/home/u/m/"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// What is hidden in a recording by stars of the same length still gives the name.
	path := "/home/u/m/x.gguf"
	hidden := strings.ReplaceAll(path, got[2], strings.Repeat("*", len(got[2])))
	if Shown(hidden) != Shown(path) || len(hidden) != len(path) {
		t.Errorf("%q shows %q", hidden, Shown(hidden))
	}
}
