package weights

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// Texts of a header end up in terminals and documents.
func TestTextsCanBeShown(t *testing.T) {
	evil := "\x1b[31mred\r\n" + strings.Repeat("x", 5000)
	plain := func(what, text string) {
		if text == "" || strings.ContainsAny(text, "\x1b\r\n") || utf8.RuneCountInString(text) > maxShown+1 {
			t.Errorf("%s: %q", what, text)
		}
	}
	info, err := Read(put(t, filepath.Join(t.TempDir(), "m.gguf"), weightstest.Options{}.Bytes()))
	if err != nil || info.Architecture != "llama" || info.Name != weightstest.Name {
		t.Errorf("a plain name changed: %+v, %v", info, err)
	}
	info, err = Read(put(t, filepath.Join(t.TempDir(), "m.gguf"), file(3, 0, nil, 2, join(text("general.architecture", evil), text("general.name", evil)), 64)))
	if err != nil {
		t.Fatal(err)
	}
	plain("architecture", info.Architecture)
	plain("name", info.Name)

	dir := t.TempDir()
	put(t, filepath.Join(dir, "model.safetensors"), append(headed([]byte(`{"a":{"dtype":"\u001b[31m","shape":[8],"data_offsets":[0,8]}}`)), make([]byte, 8)...))
	put(t, filepath.Join(dir, "config.json"), []byte(`{"model_type":"\u001b[31m\n`+strings.Repeat("y", 5000)+`","quantization_config":{"quant_method":"\u001b[31m\n`+strings.Repeat("z", 5000)+`"}}`))
	if info, err = Read(dir); err != nil {
		t.Fatal(err)
	}
	plain("architecture", info.Architecture)
	plain("quantisation", info.Quant)
	for name := range info.Types {
		plain("type", name)
	}
}

// Opening a pipe waits for its writer: for ever, where there is none.
func TestPipesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	gguf := filepath.Join(dir, "m.gguf")
	folder := t.TempDir()
	config := t.TempDir()
	put(t, filepath.Join(config, "model.safetensors"), shard(t, "a BF16 4 4"))
	for _, path := range []string{gguf, filepath.Join(folder, "model.safetensors"), filepath.Join(config, "config.json")} {
		makePipe(t, path)
	}
	for _, path := range []string{gguf, folder} {
		if info, err := Read(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %+v, %v", path, info, err)
		}
	}
	// A configuration only says more about weights that are there.
	if info, err := Read(config); err != nil || !strings.Contains(info.Trouble, "not a regular file") || info.Parameters != 16 {
		t.Errorf("%+v, %v", info, err)
	}
	for _, path := range []string{gguf, folder} {
		if _, _, err := PrefixDigest(path); err == nil {
			t.Errorf("%s has a digest of its ends", path)
		}
		if _, _, err := Digest(context.Background(), path, nil); err == nil {
			t.Errorf("%s has a digest", path)
		}
	}
}
