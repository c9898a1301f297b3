package pyhelper

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
)

// program writes an executable shell script.
func program(t *testing.T, path, text string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts do not run on Windows")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // it has to be run
		t.Fatal(err)
	}
	return path
}

func TestInterpreter(t *testing.T) {
	dir := t.TempDir()
	onPath := program(t, filepath.Join(dir, "path", "python3"), "")
	other := program(t, filepath.Join(dir, "path", "python3.12"), "")
	venv := program(t, filepath.Join(dir, "venv", "bin", "python"), "")
	named := program(t, filepath.Join(dir, "named", "bin", "python"), "")
	env := map[string]string{"PATH": filepath.Dir(onPath)}
	for _, c := range []struct {
		name, option string
		env          map[string]string
		want         string
	}{
		{"on PATH", "", nil, onPath},
		{"the active environment", "", map[string]string{"VIRTUAL_ENV": filepath.Join(dir, "venv")}, venv},
		{"an environment that is gone", "", map[string]string{"VIRTUAL_ENV": filepath.Join(dir, "gone")}, onPath},
		{"the variable", "", map[string]string{"VIRTUAL_ENV": filepath.Join(dir, "venv"), "LLM_SPEED_PYTHON": other}, other},
		{"the option", named, map[string]string{"LLM_SPEED_PYTHON": other}, named},
		{"a folder", filepath.Join(dir, "named"), nil, named},
		{"a name", "python3.12", nil, other},
		{"none", "", map[string]string{"PATH": filepath.Join(dir, "empty")}, ""},
	} {
		got, err := Interpreter(c.option, func(k string) string {
			if v, ok := c.env[k]; ok {
				return v
			}
			return env[k]
		})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	if _, err := Interpreter(filepath.Join(dir, "gone"), nil); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("an option that names nothing: %v", err)
	}
}

func TestLook(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	for _, m := range []string{"spam_lib", "broken_lib", "spam_lib-1.2.dist-info"} {
		if err := os.MkdirAll(filepath.Join(dir, m), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A package that is imported would end the look.
	for name, text := range map[string]string{
		"spam_lib/__init__.py": "raise SystemExit('imported')", "broken_lib/__init__.py": "import no_such_module", "spam_lib-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: spam-lib\nVersion: 1.2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PYTHONPATH", dir)
	e, err := Look(t.Context(), LookToOpen, py, "spam_lib", "broken_lib", "no_such_lib", "no.such.lib")
	if err != nil || e.Packages["spam_lib"] != "1.2" || len(e.Packages) != 2 || e.Python == "" || e.System == "" || e.Machine == "" {
		t.Errorf("%+v, %v", e, err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"no Python":     {"echo hello", "is no Python"},
		"prints more":   {"echo '" + lookMark + "{'", "answer not understood"},
		"fails":         {"echo no more disk >&2; exit 3", "no more disk"},
		"says nothing":  {"true", "is no Python"},
		"never answers": {"sleep 60", "answer"},
	} {
		began := time.Now()
		_, err := Look(t.Context(), 2*time.Second, program(t, filepath.Join(t.TempDir(), "python3"), c.text), "x")
		if err == nil || !strings.Contains(err.Error(), c.says) || time.Since(began) > 8*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Look(ctx, LookToOpen, py, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// model makes a model folder.
func model(t *testing.T, dir, config string, old time.Duration) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config.json": config, "model.safetensors": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(-old)
	if err := os.Chtimes(filepath.Join(dir, "config.json"), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFindAndChoose(t *testing.T) {
	root := t.TempDir()
	model(t, filepath.Join(root, "hub", "models--org--Big-4bit", "snapshots", "rev"), `{"max_position_embeddings":4096,"quantization":{"bits":4},"eos_token_id":[2,7]}`, time.Hour)
	model(t, filepath.Join(root, "hub", "models--org--Small-8bit", "snapshots", "rev"), `{"text_config":{"max_position_embeddings":1024,"eos_token_id":5},"quantization":{"bits":8}}`, time.Minute)
	model(t, filepath.Join(root, "hub", "models--org--Other", "snapshots", "rev"), `{"max_position_embeddings":"many"}`, time.Second)
	model(t, filepath.Join(root, "hub", "broken"), `{"max_pos`, 0)
	if err := os.MkdirAll(filepath.Join(root, "hub", "models--org--NoWeights", "snapshots", "rev"), 0o700); err != nil {
		t.Fatal(err)
	}
	wanted := func(f Folder) bool { return len(f.Config.MLX) > 0 }
	found := Find([]string{filepath.Join(root, "gone"), filepath.Join(root, "hub"), filepath.Join(root, "hub")}, wanted)
	var names []string
	for _, f := range found {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, []string{"org/Small-8bit", "org/Big-4bit"}) {
		t.Fatalf("found %q, want each once, newest first", names)
	}
	if found[0].Config.Context != 1024 || found[1].Config.Context != 4096 {
		t.Errorf("contexts %d and %d", found[0].Config.Context, found[1].Config.Context)
	}
	if a, b := EOSIDs(found[1].Path, found[1].Config), EOSIDs(found[0].Path, found[0].Config); !slices.Equal(a, []int{2, 7}) || !slices.Equal(b, []int{5}) {
		t.Errorf("ends of text %v and %v", a, b)
	}
	if err := os.WriteFile(filepath.Join(found[1].Path, "generation_config.json"), []byte(`{"eos_token_id":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := EOSIDs(found[1].Path, found[1].Config); !slices.Equal(a, []int{2, 7, 9}) {
		t.Errorf("ends of text %v", a)
	}
	if a := EOSIDs(t.TempDir(), Config{EOS: []byte("null")}); len(a) != 0 {
		t.Errorf("ends of text %v of a model that names none", a)
	}
	for _, c := range []struct {
		ref, want string
		err       error
		says      string
	}{
		{"", "org/Small-8bit", nil, ""},
		{"org/Big-4bit", "org/Big-4bit", nil, ""},
		{"big-4BIT", "org/Big-4bit", nil, ""},
		{"small", "org/Small-8bit", nil, ""},
		{found[1].Path, "org/Big-4bit", nil, ""},
		{"bit", "", drivers.ErrModelNotFound, "did you mean"},
		{"org/Big-4bits", "", drivers.ErrModelNotFound, "did you mean org/Big-4bit"},
		{"nothing-like-it", "", drivers.ErrModelNotFound, "there are org/Small-8bit"},
		{root, "", drivers.ErrModelNotFound, "config.json"},
		{filepath.Join(root, "hub", "broken"), "", drivers.ErrModelNotFound, "unexpected end"},
	} {
		f, err := Choose(c.ref, found, "MLX model")
		if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) || c.err == nil && f.Name != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %q, %v", c.ref, f.Name, err)
		}
	}
	t.Chdir(root)
	if f, err := Choose("hub/models--org--Other/snapshots/rev", nil, "MLX model"); err != nil || f.Name != "org/Other" || !filepath.IsAbs(f.Path) {
		t.Errorf("a folder below the current one: %+v, %v", f, err)
	}
	if _, err := Choose("", nil, "MLX model"); !errors.Is(err, drivers.ErrNoModel) {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := Choose("x", nil, "MLX model"); !errors.Is(err, drivers.ErrModelNotFound) {
		t.Errorf("nothing there, and one asked for: %v", err)
	}
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{`{"max_position_embeddings":4096,"quantization":{"bits":4},"eos_token_id":[2,7]}`, `{"eos_token_id":1e400,"text_config":[]}`, `{"quantization_config":7}`, `[]`, `null`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(dir)
		if err == nil && c.Context < 0 {
			t.Errorf("a context of %d tokens", c.Context)
		}
		_ = EOSIDs(dir, c)
	})
}
