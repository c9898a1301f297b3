package ollama

import (
	"flag"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

const digestHex = "f4cdd0ef3b0965c3318a1a15dc593b76ce4c1efe60653f2b1e6b0df3ed63fcf8"

// Answers in the shapes of docs/api.md of v0.17.4, as the recorded ones have them.
const (
	tagsAnswer = `{"models":[{"name":"m:latest","model":"m:latest","size":306150,"digest":"aa11","details":{"format":"gguf","family":"llama","parameter_size":"145K","quantization_level":"Q4_K_M"}}]}`
	psAnswer   = `{"models":[{"name":"m:latest","model":"m:latest","size":4413696,"size_vram":4413696,"digest":"aa11","expires_at":"2026-11-24T02:52:07.239534615Z","context_length":4096}]}`
	showAnswer = `{"modelfile":"FROM /models/blobs/sha256-` + digestHex + `\nTEMPLATE {{ .Prompt }}\n","details":{"format":"gguf","family":"llama","parameter_size":"145K","quantization_level":"Q4_K_M"},
"model_info":{"general.architecture":"llama","llama.context_length":8192},"capabilities":["completion","tools","thinking"]}`
)

func answers() map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /api/version":   drivertest.JSON(`{"version":"0.17.4"}`),
		"GET /api/tags":      drivertest.JSON(tagsAnswer),
		"GET /api/ps":        drivertest.JSON(psAnswer),
		"POST /api/show":     drivertest.JSON(showAnswer),
		"POST /api/generate": drivertest.JSON(`{"model":"m","done":true,"done_reason":"load"}`),
	}
}

func say(message string) string {
	return `{"model":"m:latest","created_at":"2026-11-24T02:22:07.2Z","message":{"role":"assistant",` + message + `},"done":false}` + "\n"
}

const lastLine = `{"model":"m:latest","created_at":"2026-11-24T02:22:07.3Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"length",` +
	`"total_duration":109606649,"load_duration":1387318,"prompt_eval_count":9,"prompt_eval_duration":691828,"eval_count":64,"eval_duration":104947944}` + "\n"

func TestConformance(t *testing.T) {
	count := func(n int) stream.Count { return stream.Count{N: n, From: stream.TimingBlock} }
	drivertest.Run(t, drivertest.Suite{
		Spec: Spec(), Answers: answers(), Stream: "POST /api/chat",
		Good:    []string{say(`"content":"","thinking":"so "`), say(`"content":"東京"`), say(`"content":"!"`), say(`"content":"","tool_calls":[{"id":"call_x","function":{"index":0,"name":"read","arguments":{"path":"a"}}}]`), lastLine},
		Text:    `so 東京!read{"path":"a"}`,
		Counts:  stream.Counts{Prompt: count(9), Output: count(64)},
		Failure: say(`"content":"a"`) + `{"error":"an error was encountered while running the model: unexpected EOF"}` + "\n",
		Golden:  "testdata/request.golden.json", Update: *update, Oracle: []string{"ollama-chat"},
	})
}

func TestSpecIsStated(t *testing.T) {
	s := Spec()
	for _, text := range []string{s.Name, s.Title, s.Doc, s.Looked, s.Start} {
		if strings.TrimSpace(text) == "" {
			t.Errorf("a part of the spec is empty: %+v", s)
		}
	}
}
