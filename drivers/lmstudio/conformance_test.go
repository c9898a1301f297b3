package lmstudio

import (
	"flag"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

// The answers below are synthetic: written from LM Studio's documentation (developer/rest/list, load, chat, streaming-events,
// endpoints).
const (
	newModels = `{"models":[
{"type":"embedding","publisher":"nomic-ai","key":"text-embedding-nomic","display_name":"Nomic","quantization":{"name":"F16","bits_per_weight":16},"size_bytes":274290560,"loaded_instances":[],"max_context_length":2048,"format":"gguf"},
{"type":"llm","publisher":"google","key":"google/gemma-3-4b","display_name":"Gemma 3 4B","architecture":"gemma3","quantization":{"name":"Q4_K_M","bits_per_weight":4},"size_bytes":1000,"params_string":"4B",
 "loaded_instances":[{"id":"google/gemma-3-4b","config":{"context_length":8192,"eval_batch_size":512,"parallel":4,"flash_attention":true,"offload_kv_cache_to_gpu":true}}],"max_context_length":131072,"format":"gguf"}]}`
	oldModels = `{"object":"list","data":[
{"id":"text-embedding-nomic","object":"model","type":"embeddings","publisher":"nomic-ai","arch":"nomic-bert","compatibility_type":"gguf","quantization":"Q4_0","state":"not-loaded","max_context_length":2048},
{"id":"google/gemma-3-4b","object":"model","type":"vlm","publisher":"google","arch":"gemma3","compatibility_type":"gguf","quantization":"Q4_K_M","state":"loaded","max_context_length":131072,"loaded_context_length":8192}]}`
	unknownEndpoint = `{"error":"Unexpected endpoint or method. (POST /x)"}`
)

func event(json string) string { return "data: " + json + "\n\n" }

func named(kind, json string) string { return "event: " + kind + "\ndata: " + json + "\n\n" }

// good is a stream of /v1/chat/completions.
func good() []string {
	return []string{
		event(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"google/gemma-3-4b","system_fingerprint":"google/gemma-3-4b","choices":[{"index":0,"delta":{"role":"assistant","content":"Bonjour"},"logprobs":null,"finish_reason":null}]}`),
		event(`{"id":"chatcmpl-1","model":"google/gemma-3-4b","choices":[{"index":0,"delta":{"content":" 東京"},"logprobs":null,"finish_reason":null}]}`),
		event(`{"id":"chatcmpl-1","model":"google/gemma-3-4b","choices":[{"index":0,"delta":{"content":"!"},"logprobs":null,"finish_reason":null}]}`),
		event(`{"id":"chatcmpl-1","model":"google/gemma-3-4b","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}`),
		event(`{"id":"chatcmpl-1","model":"google/gemma-3-4b","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}`),
		"data: [DONE]\n\n",
	}
}

func withStats() []string {
	g := good()
	g[4] = strings.Replace(g[4], `}}`, `},"stats":{"tokens_per_second":51.4,"time_to_first_token":0.111,"generation_time":0.06,"stop_reason":"maxPredictedTokensReached"},"runtime":{"name":"llama.cpp-linux","version":"2.1.0"}}`, 1)
	return g
}

func stated9(output int) stream.Counts {
	return stream.Counts{Prompt: count(9), Output: count(output)}
}

func count(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }

func suite() drivertest.Suite {
	return drivertest.Suite{
		Spec: Spec(), Stream: "POST /v1/chat/completions", Options: map[string]string{optWait: "5s"},
		Answers: map[string]drivertest.Script{
			"GET /api/v1/models": drivertest.JSON(newModels), "GET /api/v0/models": drivertest.JSON(oldModels),
			"POST /api/v0/chat/completions": drivertest.JSON(unknownEndpoint),
		},
		Good: good(), Text: "Bonjour 東京!", Counts: stated9(4),
		Failure: good()[0] + "event: error\n" + event(`{"error":{"message":"The model has crashed without additional information. (Exit code: 6)"}}`),
		Golden:  "testdata/request.json", Update: *update,
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite()) }

// TestConformanceV0 is a server before 0.4, whose own endpoint tells its figures.
func TestConformanceV0(t *testing.T) {
	s := suite()
	s.Answers["GET /api/v1/models"] = drivertest.JSON(`{"error":"Unexpected endpoint or method. (GET /api/v1/models)"}`)
	s.Stream, s.Good, s.Golden, s.Oracle = "POST /api/v0/chat/completions", withStats(), "testdata/request_v0.json", []string{"lmstudio-v0"}
	delete(s.Answers, s.Stream)
	drivertest.Run(t, s)
}
