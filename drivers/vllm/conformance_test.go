package vllm

import (
	"flag"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

// The answers below are synthetic: written from vLLM's documented API and its source's response classes
// (vllm/entrypoints/openai/completion/protocol.py, serve/tokenize/protocol.py, v1/metrics/loggers.py).
const (
	modelsAnswer = `{"object":"list","data":[{"id":"qwen","object":"model","created":1,"owned_by":"vllm","root":"Qwen/Qwen3-8B-AWQ","parent":null,"max_model_len":40960,"permission":[]},` +
		`{"id":"qwen-lora","object":"model","owned_by":"vllm","root":"/adapters/x","parent":"qwen"}]}`
	metricsAnswer = `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="qwen"} 1.0
vllm:num_requests_waiting{engine="0",model_name="qwen"} 2.0
vllm:prefix_cache_queries_total{engine="0",model_name="qwen"} 100.0
vllm:prefix_cache_hits_total{engine="0",model_name="qwen"} 48.0
vllm:num_preemptions_total{engine="0",model_name="qwen"} 0.0
vllm:cache_config_info{block_size="32",cache_dtype="auto",enable_prefix_caching="True",num_gpu_blocks="1000",num_cpu_blocks="None"} 1.0
`
)

func event(json string) string { return "data: " + json + "\n\n" }

// chunk is an event of /v1/completions with a running count.
func chunk(text, tokens string) string {
	return event(`{"id":"cmpl-1","object":"text_completion","created":1,"model":"qwen","choices":[{"index":0,"text":` + text +
		`,"logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":` + tokens + `}}`)
}

// good has an event of two tokens, and one without text.
func good() []string {
	return []string{
		chunk(`"Bonjour"`, "1"), chunk(`""`, "2"), chunk(`" 東京"`, "4"),
		event(`{"id":"cmpl-1","model":"qwen","choices":[{"index":0,"text":"!","finish_reason":"length","stop_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":5}}`),
		event(`{"id":"cmpl-1","model":"qwen","choices":[],"usage":{"prompt_tokens":5,"total_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":0}}}`),
		"data: [DONE]\n\n",
	}
}

func answers() map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /v1/models":   drivertest.JSON(modelsAnswer),
		"GET /version":     drivertest.JSON(`{"version":"0.11.0+cu129"}`),
		"GET /metrics":     drivertest.JSON(metricsAnswer),
		"POST /tokenize":   drivertest.JSON(`{"count":5,"max_model_len":40960,"tokens":[1,2,3,4,5],"token_strs":null}`),
		"POST /detokenize": drivertest.JSON(`{"prompt":"<|im_start|>assistant\n"}`),
	}
}

func stated(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

func suite() drivertest.Suite {
	return drivertest.Suite{
		Spec: Spec(), Answers: answers(), Stream: "POST /v1/completions", Options: map[string]string{optSalt: "golden"},
		Good: good(), Text: "Bonjour 東京!",
		Counts:  stream.Counts{Prompt: stated(5), Cached: stated(0), Output: stated(5)},
		Failure: chunk(`"a"`, "1") + event(`{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}`) + "data: [DONE]\n\n",
		Golden:  "testdata/request.json", Update: *update,
		Caps: []string{"tokenizer", "cache_stats", "activity", "preemptions"}, Oracle: []string{"vllm-completions", "vllm-completions-plain"},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite()) }

// TestConformanceChat is a server without /tokenize and without metrics: it goes by chats.
func TestConformanceChat(t *testing.T) {
	s := suite()
	for _, route := range []string{"GET /metrics", "POST /tokenize", "POST /detokenize"} {
		delete(s.Answers, route)
	}
	s.Stream = "POST /v1/chat/completions"
	s.Good = []string{
		event(`{"id":"c","model":"qwen","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Hm"},"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":1}}`),
		event(`{"id":"c","model":"qwen","choices":[{"index":0,"delta":{"content":" 東京"},"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":3}}`),
		event(`{"id":"c","model":"qwen","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":4}}`),
		event(`{"id":"c","model":"qwen","choices":[{"index":0,"delta":{"content":""},"finish_reason":"length","stop_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":5}}`),
		event(`{"id":"c","model":"qwen","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":5}}`),
		"data: [DONE]\n\n",
	}
	s.Text, s.Counts = "Hm 東京!", stream.Counts{Prompt: stated(5), Output: stated(5)}
	s.Failure = s.Good[0] + event(`{"error":{"message":"boom","type":"InternalServerError","code":500}}`)
	s.Golden, s.Caps = "testdata/request_chat.json", []string{"activity"}
	s.Oracle = []string{"vllm-chat"}
	drivertest.Run(t, s)
}
