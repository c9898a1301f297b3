package tabbyapi

import (
	"flag"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

func event(json string) string { return "data: " + json + "\n\n" }

// The shapes are written from TabbyAPI's endpoints/core/types/model.py, endpoints/OAI/utils/chat_completion.py and common_.py.
const (
	card     = `{"id":"Qwen3-8B-exl3-4.0bpw","object":"model","created":1,"owned_by":"tabbyAPI","parameters":{"max_seq_len":32768,"rope_scale":1.0,"cache_size":65536,"cache_mode":"Q8","max_batch_size":16,"chunk_size":2048,"prompt_template":"from_tokenizer_config"}}`
	response = `"object":"chat.completion.chunk","created":1,"model":"Qwen3-8B-exl3-4.0bpw"`
	usedUp   = `"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_time":0.01,"prompt_tokens_per_sec":900.0,"completion_time":0.05,"completion_tokens_per_sec":80.0,"total_time":0.06}`
)

var good = []string{
	event(`{"id":"c",` + response + `,"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}`),
	event(`{"id":"c",` + response + `,"choices":[{"index":0,"delta":{"content":"so"},"finish_reason":null}]}`),
	": ping - 2026-11-24 02:00:00+00:00\n\n",
	event(`{"id":"c",` + response + `,"choices":[{"index":0,"delta":{"content":"東京"},"finish_reason":null}]}`),
	event(`{"id":"c",` + response + `,"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}`),
	event(`{"id":"c",` + response + `,"choices":[{"index":0,"delta":{},"finish_reason":"length"}],` + usedUp + `}`),
	"data: [DONE]\n\n",
}

func answers() map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /v1/models":             drivertest.JSON(`{"object":"list","data":[` + card + `]}`),
		"GET /v1/model":              drivertest.JSON(card),
		"GET /v1/sampling/overrides": drivertest.JSON(`{"presets":[],"selected_preset":null,"overrides":{}}`),
		"POST /v1/token/encode":      drivertest.JSON(`{"tokens":[1,2,3,4,5,6],"length":6}`),
	}
}

func TestConformance(t *testing.T) {
	count := func(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
	s := drivertest.Suite{
		Spec: Spec(), Answers: answers(), Stream: "POST /v1/chat/completions", Good: good, Text: "so東京!",
		Counts:  stream.Counts{Prompt: count(9), Output: count(4)},
		Failure: good[1] + event(`{"error":{"message":"Chat completion aborted. Please check the server console.","trace":null}}`),
		Golden:  "testdata/request.json", Update: *update,
		Caps: []string{"tokenizer"}, Oracle: []string{"tabbyapi-chat"},
	}
	drivertest.Run(t, s)
}
