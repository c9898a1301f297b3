package weightstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// OllamaTemplate is the chat template of the model in Ollama's own language: ChatML with tools, tool calls and results.
const OllamaTemplate = `{{- if or .System .Tools }}<|im_start|>system
{{ .System }}
{{- if .Tools }}
Tools:
{{- range .Tools }}
{{ json . }}
{{- end }}
{{- end }}<|im_end|>
{{ end }}
{{- range .Messages }}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}
{{- range .ToolCalls }}
<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ json .Function.Arguments }}}</tool_call>
{{- end }}<|im_end|>
{{ else if eq .Role "tool" }}<|im_start|>tool
{{ .Content }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
`

// OllamaThinking is a template whose every answer begins inside a thinking block, which the model never ends.
const OllamaThinking = `{{- range .Messages }}<|im_start|>{{ .Role }}
{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
<think>
`

// OllamaCreate gives the Ollama at url a model of that name, as `ollama create` does.
func OllamaCreate(t testing.TB, url, name, template string, gguf []byte) {
	t.Helper()
	sum := sha256.Sum256(gguf)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	post := func(path, kind string, body []byte, want int) {
		res, err := http.Post(url+path, kind, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, _ := io.ReadAll(res.Body)
		if res.StatusCode != want && res.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
			t.Fatalf("%s: HTTP %d: %s", path, res.StatusCode, answer)
		}
	}
	post("/api/blobs/"+digest, "application/octet-stream", gguf, http.StatusCreated)
	body, err := json.Marshal(map[string]any{"model": name, "files": map[string]string{"model.gguf": digest}, "template": template, "stream": false,
		// One thread: more of them wait for each other in a loop, which on a busy machine takes a hundred times as long.
		"parameters": map[string]any{"num_thread": 1}})
	if err != nil {
		t.Fatal(err)
	}
	post("/api/create", "application/json", body, http.StatusOK)
}
