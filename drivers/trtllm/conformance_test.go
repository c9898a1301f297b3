package trtllm

import (
	"flag"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

func event(json string) string { return "data: " + json + " \n\n" }

// good has the documented shapes: usage in each event, a space at the end of each line.
var good = []string{
	event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":2}}}`),
	event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":"so"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}`),
	event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":"東京"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}`),
	event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}`),
	event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":""},"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}`),
	event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}`),
	"data: [DONE]\n\n",
}

const metricsAnswer = `trtllm_prompt_tokens_total{model_name="m",engine_type="trtllm"} 900.0
trtllm_prompt_cached_tokens_total{model_name="m",engine_type="trtllm"} 64.0
trtllm_num_requests_running{model_name="m",engine_type="trtllm"} 0.0
trtllm_num_requests_waiting{model_name="m",engine_type="trtllm"} 0.0
trtllm_max_num_active_requests{model_name="m"} 64.0
trtllm_kv_cache_tokens_per_block{model_name="m"} 32.0
trtllm_model_config_info{model_name="m",dtype="bfloat16",quantization="FP8"} 1.0
`

func answers() map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /v1/models":          drivertest.JSON(`{"object":"list","data":[{"id":"Qwen3-8B","object":"model","created":1,"owned_by":"tensorrt_llm"}]}`),
		"GET /version":            drivertest.JSON(`{"version":"1.2.0"}`),
		"GET /prometheus/metrics": drivertest.JSON(metricsAnswer),
	}
}

func TestConformance(t *testing.T) {
	count := func(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
	drivertest.Run(t, drivertest.Suite{
		Spec: Spec(), Answers: answers(), Stream: "POST /v1/chat/completions", Good: good, Text: "so東京!",
		Counts:  stream.Counts{Prompt: count(9), Cached: count(2), Output: count(4)},
		Failure: good[1] + event(`{"object":"error","message":"CUDA out of memory","type":"InternalServerError","code":500}`) + "data: [DONE]\n\n",
		Golden:  "testdata/request.json", Update: *update,
		Caps: []string{"cache_stats", "activity"}, Oracle: []string{"trtllm-chat"},
	})
}
