package sglang

import (
	"flag"
	"fmt"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

// The shapes below are written from SGLang's python/sglang/srt/entrypoints/http_server.py, openai/protocol.py and
// managers/tokenizer_manager.py; the values are ours.
const (
	modelsAnswer = `{"object":"list","data":[{"id":"Qwen3-8B","object":"model","owned_by":"sglang","root":"Qwen3-8B","max_model_len":40960}]}`
	infoAnswer   = `{"model_path":"/home/u/models/Qwen3-8B","tokenizer_path":"/home/u/models/Qwen3-8B","is_generation":true,"weight_version":"default"}`
	argsAnswer   = `{"model_path":"/home/u/models/Qwen3-8B","api_key":"never-shown","device":"cuda","attention_backend":"fa3","tp_size":2,"dtype":"bfloat16",
"quantization":"fp8","page_size":1,"max_running_requests":48,"max_total_num_tokens":120000,"disable_radix_cache":false,"stream_interval":1,
"incremental_streaming_output":false,"context_length":null,"internal_states":[{"effective_max_running_requests_per_dp":48}],"version":"0.5.6"}`
	metricsAnswer = `# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m",tp_rank="0"} 1.0
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 0.0
sglang:prompt_tokens_total{model_name="m",is_streaming="true"} 90.0
sglang:prompt_tokens_total{model_name="m",is_streaming="false"} 10.0
sglang:cached_tokens_total{model_name="m",cache_source="device"} 40.0
`
)

// ev is a native event: the whole text so far.
func ev(text string, n int) string {
	return fmt.Sprintf("data: {\"text\":%q,\"output_ids\":[1,2],\"meta_info\":{\"id\":\"r\",\"finish_reason\":null,\"prompt_tokens\":9,\"weight_version\":\"default\",\"completion_tokens\":%d,\"cached_tokens\":2}}\n\n", text, n)
}

// end is the last event of a stream.
func end(text string, n int) string {
	return fmt.Sprintf("data: {\"text\":%q,\"output_ids\":[1,2],\"meta_info\":{\"id\":\"r\",\"finish_reason\":{\"type\":\"length\",\"length\":%d},\"prompt_tokens\":9,\"weight_version\":\"default\",\"completion_tokens\":%d,\"cached_tokens\":2,\"e2e_latency\":0.71}}\n\n", text, n, n)
}

const done = "data: [DONE]\n\n"

// chatStream is an answer of the chat route.
func chatStream(prompt int) drivertest.Script {
	event := func(json string) string { return "data: " + json + "\n\n" }
	return drivertest.Script{Writes: []string{
		event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`),
		event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":"so"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`),
		event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":"東京"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`),
		event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":4}}`),
		event(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`),
		event(fmt.Sprintf(`{"id":"c","object":"chat.completion.chunk","model":"Qwen3-8B","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":4},"sglext":{"cached_tokens_details":{"device":2,"host":0}}}`, prompt)),
		done,
	}}
}

func answers() map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /v1/models":            drivertest.JSON(modelsAnswer),
		"GET /model_info":           drivertest.JSON(infoAnswer),
		"GET /server_info":          drivertest.JSON(argsAnswer),
		"POST /tokenize":            drivertest.JSON(`{"tokens":[1,2,3,4,5,6,7,8,9],"count":9,"max_model_len":40960}`),
		"POST /detokenize":          drivertest.JSON(`{"text":"<|im_start|>assistant\n"}`),
		"POST /v1/chat/completions": chatStream(9),
		"POST /flush_cache":         drivertest.JSON("Cache flushed.\n"),
		"GET /get_load":             drivertest.JSON(`[{"dp_rank":0,"num_reqs":3,"num_waiting_reqs":1,"num_tokens":100}]`),
		"GET /metrics":              drivertest.JSON(metricsAnswer),
	}
}

func good() []string {
	return []string{ev("", 0), ev("so", 1), ": ping\n\n", ev("so\uFFFD", 2), ev("so東", 3), ev("so東京", 4), end("so東京!", 5), done}
}

func suite() drivertest.Suite {
	count := func(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
	return drivertest.Suite{
		Spec: Spec(), Answers: answers(), Stream: "POST /generate", Good: good(), Text: "so東京!",
		Counts:  stream.Counts{Prompt: count(9), Cached: count(2), Output: count(5)},
		Failure: ev("a", 1) + `data: {"error":{"message":"CUDA out of memory"}}` + "\n\n" + done,
		Golden:  "testdata/request_generate.json", Update: *update,
		Caps: []string{"tokenizer", "cache_stats", "cache_flush", "activity"}, Oracle: []string{"sglang"},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite()) }

// TestConformanceChat is a server whose /tokenize knows no messages, so that the chat route is used.
func TestConformanceChat(t *testing.T) {
	count := func(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
	s := suite()
	refusal := drivertest.JSON(`{"object":"error","message":"Invalid prompt type: <class 'NoneType'>","type":"BadRequest","code":400}`)
	refusal.Status = 400
	s.Answers["POST /tokenize"] = refusal
	delete(s.Answers, "GET /metrics")
	s.Stream, s.Good = "POST /v1/chat/completions", chatStream(9).Writes
	s.Counts = stream.Counts{Prompt: count(9), Cached: count(2), Output: count(4)}
	s.Golden, s.Caps = "testdata/request_chat.json", []string{"cache_flush", "activity"}
	s.Oracle = nil // the chat route is that of other servers
	drivertest.Run(t, s)
}
