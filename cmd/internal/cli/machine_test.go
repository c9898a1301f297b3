package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/weights"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A model is described by its files; a file that says nothing leaves a reason for every field, without its folder.
func TestIdentify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private-folder")
	good := write(t, filepath.Join(dir, "some-F16.gguf"), weightstest.Options{}.Bytes())
	for _, c := range []struct {
		name     string
		model    drivers.Model
		format   string
		mismatch string
		reason   string // of architecture
	}{
		{"as it says", drivers.Model{Path: good, Ref: good, Name: "some", Quant: "F16"}, "gguf", "", ""},
		{"another name", drivers.Model{Path: good, Ref: "some:q4_K_M"}, "gguf", `"some:q4_K_M" says Q4_K_M, the header F16`, ""},
		{"another word of the server", drivers.Model{Path: good, Quant: "Q8_0"}, "gguf", "the server says Q8_0, the model's file F16", ""},
		{"cut off", drivers.Model{Path: write(t, filepath.Join(dir, "cut.gguf"), weightstest.Options{}.Bytes()[:9000])}, "", "", "cut.gguf: the file is cut off"},
		{"no model", drivers.Model{Path: write(t, filepath.Join(dir, "page.gguf"), []byte("<html>"))}, "", "", "page.gguf: not a GGUF file"},
		{"a shard index that leads away", drivers.Model{Path: filepath.Dir(write(t, filepath.Join(dir, "st", "model.safetensors.index.json"), []byte(`{"weight_map":{"a":"../x.safetensors"}}`)))}, "", "", "names a file"},
		{"not there", drivers.Model{Path: filepath.Join(dir, "none.gguf")}, "", "", "none.gguf"},
	} {
		id := identify(c.model)
		if id.Model.Format != c.format || !strings.Contains(id.Mismatch, c.mismatch) || (id.Mismatch == "") != (c.mismatch == "") || !strings.Contains(id.Reasons["architecture"], c.reason) {
			t.Errorf("%s: %+v", c.name, id)
		}
		m := id.Model
		for field, known := range map[string]bool{
			"architecture": m.Architecture != nil, "parameters": m.Parameters != nil, "quant_types": m.QuantTypes != nil, "bits_per_weight": m.BitsPerWeight != nil,
			"layers": m.Layers != nil, "experts": m.Experts != nil, "experts_used": m.ExpertsUsed != nil, "prefix_digest": m.PrefixDigest != "",
		} {
			if known == (id.Reasons[field] != "") {
				t.Errorf("%s: %s is known %t, with the reason %q", c.name, field, known, id.Reasons[field])
			}
		}
		for field, why := range id.Reasons {
			if strings.Contains(why, "private-folder") {
				t.Errorf("%s: %s tells the folder: %s", c.name, field, why)
			}
		}
	}
}

// The weights are hashed once; errors tell no folder.
func TestDigestIsKept(t *testing.T) {
	dir := t.TempDir()
	model := write(t, filepath.Join(dir, "private-folder", "m.gguf"), []byte("weights"))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(model, old, old); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"XDG_CACHE_HOME": filepath.Join(dir, "cache"), "LocalAppData": filepath.Join(dir, "cache")}
	var errs bytes.Buffer
	a := &app{&Process{Env: func(k string) string { return env[k] }, Home: func() string { return dir }, Stderr: &errs}}
	b := &benchRun{app: a, view: a.newView()}
	defer b.view.close()
	for range 2 {
		sum, kind, err := b.digest(t.Context(), model)
		if err != nil || kind != weights.KindFile || sum != "sha256:9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c" {
			t.Errorf("%s %q %v", sum, kind, err)
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, "cache", "*", "*"))
	if err != nil || len(kept) == 0 {
		t.Errorf("%v %v", kept, err)
	}
	if _, _, err := b.digest(t.Context(), filepath.Join(dir, "private-folder", "none.gguf")); err == nil || strings.Contains(err.Error(), "private-folder") {
		t.Errorf("got %v", err)
	}
	if got := hashLine(5e9, 10e9); got != "hashing the weights ██████████░░░░░░░░░░ 5.0 of 10.0 GB" {
		t.Error(got)
	}
}

func TestCacheDir(t *testing.T) {
	env := func(vars ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(vars); i += 2 {
				if vars[i] == k {
					return vars[i+1]
				}
			}
			return ""
		}
	}
	abs := t.TempDir()
	for _, c := range []struct {
		env        func(string) string
		goos, home string
		want       string
	}{
		{env(), "linux", "h", filepath.Join("h", ".cache", "llm-speed")},
		{env("XDG_CACHE_HOME", abs), "linux", "h", filepath.Join(abs, "llm-speed")},
		{env("XDG_CACHE_HOME", "relative"), "linux", "h", filepath.Join("h", ".cache", "llm-speed")},
		{env(), "darwin", "h", filepath.Join("h", "Library", "Caches", "llm-speed")},
		{env("LocalAppData", "l"), "windows", "h", filepath.Join("l", "llm-speed", "cache")},
		{env(), "windows", "h", ""},
		{env(), "linux", "", ""},
	} {
		if got := cacheDir(c.env, c.goos, c.home); got != c.want {
			t.Errorf("%s: %q, want %q", c.goos, got, c.want)
		}
	}
}
