package hw

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Tools are looked for in their usual folders first, then where the environment says; never in a folder that depends on where
// the program was started.
func TestWhereToolsAreLookedFor(t *testing.T) {
	root := "/"
	if runtime.GOOS == "windows" {
		root = `C:\`
	}
	abs := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	list := func(dirs ...string) string { return strings.Join(dirs, string(filepath.ListSeparator)) }
	env := func(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }
	for _, c := range []struct {
		name string
		env  func(string) string
		want string
	}{
		{"no environment", nil, list(abs("usr"))},
		{"empty", env(nil), list(abs("usr"))},
		{"a toolkit, then PATH", env(map[string]string{"ROCM_PATH": abs("r"), "PATH": list(abs("p"), abs("usr"), abs("r", "bin"))}), list(abs("usr"), abs("r", "bin"), abs("p"))},
		{"folders that are not absolute", env(map[string]string{"ROCM_PATH": "r", "CUDA_PATH": ".", "PATH": list("", ".", "bin", "..", abs("p"))}), list(abs("usr"), abs("p"))},
	} {
		if got := findIn([]string{abs("usr")}, c.env, "ROCM_PATH", "CUDA_PATH"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
