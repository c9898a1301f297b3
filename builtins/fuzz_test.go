package builtins

import (
	"errors"
	"io/fs"
	"testing"
)

// FuzzCompile: any text compiles or gives a placed *ScriptError, never a panic.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"", "def run(w):\n    pass\n", "def run(w, x):\n  pass", "load('lib/a.star', 'a')\ndef run(w):\n  a()",
		"load('main.star', 'run')", "run = lambda w: 1", "def run(w):\n  while True: pass", "x = [", "def run(*w): pass", "\xff\xfe", "'\\xff'",
		"load('../a.star', b = 'a')", "def f(): run(1)\ndef run(w): return {k: v for k, v in w.params.x}",
	} {
		f.Add(seed)
	}
	read := func(path string) ([]byte, error) {
		if path == "lib/a.star" {
			return []byte("def a():\n    pass\n"), nil
		}
		return nil, fs.ErrNotExist
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 4096 {
			return
		}
		p, err := Compile("main.star", []byte(src), read)
		if err == nil {
			if p.Name() != "main.star" {
				t.Errorf("name %q", p.Name())
			}
			return
		}
		var script *ScriptError
		var bug *BugError
		if !errors.As(err, &script) || errors.As(err, &bug) || script.File == "" || script.Msg == "" {
			t.Errorf("%q: got %#v", src, err)
		}
	})
}
