package exllama

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// standin is what the stand-in model says and when; see testdata/standin/README.md.
type standin map[string]any

// python makes the helper run against the stand-ins. CI has a Python; elsewhere it may be missing.
func python(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI has no python3: %v", err)
		}
		t.Skip("no python3")
	}
	dir, err := filepath.Abs("testdata/standin")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", dir)
	t.Setenv("PYTHONDONTWRITEBYTECODE", "1")
}

// folder makes a model folder with the headers of real weights, quantised as the method says.
func folder(t *testing.T, method string, s standin) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stand-in-"+method)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"model_type": "standin", "max_position_embeddings": 2048, "standin": s,
		"quantization_config": map[string]any{"quant_method": method, "bits": 4.0, "head_bits": 6},
	})
	if err != nil {
		t.Fatal(err)
	}
	header := []byte(`{"w":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}}`)
	weights := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	for name, b := range map[string][]byte{
		"config.json": config, "model.safetensors": append(weights, 0, 0, 0, 0),
		"tokenizer_config.json": []byte(`{"bos_token":{"content":"<s>"},"eos_token":"<|im_end|>","chat_template":"{# think #}"}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func config(model string) drivers.Config {
	return drivers.Config{Model: model, Env: os.Getenv, Clock: clock.New(), Log: func(string, ...any) {}}
}

// both runs a test on each of the two backends.
func both(t *testing.T, test func(t *testing.T, f flavor)) {
	for _, f := range []flavor{v2(), v3()} {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// start opens a session on the stand-ins.
func start(t *testing.T, f flavor, s standin, n drivers.Need) drivers.Session {
	t.Helper()
	python(t)
	ses, err := f.spec().Open(t.Context(), config(folder(t, f.method, s)), n)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	return ses
}

func one() drivers.Need { return drivers.Need{Context: 2000, Parallel: 1} }

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

func ask(text string, tokens int) drivers.Request {
	return drivers.Request{Prompt: user(text), OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 20 * time.Second, IdleWithin: 20 * time.Second}
}

func used(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
