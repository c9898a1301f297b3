package mlx

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// folder makes a model folder with the headers of real weights.
func folder(t *testing.T, s standin) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stand-in-4bit")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"model_type": "standin", "max_position_embeddings": 4096, "quantization": map[string]any{"bits": 4, "group_size": 64}, "eos_token_id": 2, "standin": s,
	})
	if err != nil {
		t.Fatal(err)
	}
	header := []byte(`{"w":{"dtype":"U32","shape":[1],"data_offsets":[0,4]}}`)
	weights := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	for name, b := range map[string][]byte{"config.json": config, "model.safetensors": append(weights, 0, 0, 0, 0)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func config(model string) drivers.Config {
	return drivers.Config{Model: model, Options: map[string]string{optHelper: "always"}, Env: os.Getenv, Clock: clock.New(), Log: func(string, ...any) {}}
}

// start opens a session on the stand-ins.
func start(t *testing.T, s standin, parallel int) drivers.Session {
	t.Helper()
	python(t)
	ses, err := Spec().Open(t.Context(), config(folder(t, s)), drivers.Need{Context: 4096, Parallel: parallel})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	return ses
}

func ask(text string, tokens int) drivers.Request {
	return drivers.Request{Prompt: user(text), OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 20 * time.Second, IdleWithin: 20 * time.Second}
}

func user(text string) drivers.Prompt {
	return drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: text}}}
}

func used(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

// said is the start of what the stand-in says, n tokens of a byte each.
func said(s string, n int) string {
	all := strings.Repeat(s, n/len(s)+1)[:n]
	return strings.ToValidUTF8(all, "\uFFFD")
}

func wantText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("text is %s, want %s", fmt.Sprintf("%q", got), fmt.Sprintf("%q", want))
	}
}
