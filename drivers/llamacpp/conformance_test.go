package llamacpp

import (
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

const propsAnswer = `{"default_generation_settings":{"n_ctx":8192},"total_slots":2,"model_alias":"m.gguf","model_path":"/models/m.gguf",
"model_ftype":"Q4_K - Medium","build_info":"b1-x","chat_template":"{{ messages }}","endpoint_metrics":true}`

const modelsAnswer = `{"object":"list","data":[{"id":"m.gguf","owned_by":"llamacpp","meta":{"n_ctx_train":40960,"n_params":1000,"size":500}}]}`

func answers() map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /health":                            drivertest.JSON(`{"status":"ok"}`),
		"GET /props":                             drivertest.JSON(propsAnswer),
		"GET /v1/models":                         drivertest.JSON(modelsAnswer),
		"POST /apply-template":                   drivertest.JSON(`{"prompt":"<s>read_file contents"}`),
		"POST /tokenize":                         drivertest.JSON(`{"tokens":[1,2,3,4,5,6,7,8,9]}`),
		"POST /v1/chat/completions/input_tokens": drivertest.JSON(`{"input_tokens":9}`),
		"GET /slots":                             drivertest.JSON(`[{"id":0,"is_processing":true},{"id":1,"is_processing":false}]`),
		"GET /metrics":                           drivertest.JSON("llamacpp:prompt_tokens_total 7\nllamacpp:prompt_tokens_cached_total 2\nllamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n"),
	}
}

func TestConformance(t *testing.T) {
	count := func(n int) stream.Count { return stream.Count{N: n, From: stream.TimingBlock} }
	drivertest.Run(t, drivertest.Suite{
		Spec: Spec(), Answers: answers(), Stream: "POST /completion",
		Good:    []string{ev("so", 1) + "\n\n", ": ping\n\n", ev("東京", 3) + "\n\n", ev("!", 4) + "\n\n", final + "\n\n"},
		Text:    "so東京!",
		Counts:  stream.Counts{Prompt: count(9), Cached: count(2), Output: count(4), Reasoning: count(0)},
		Failure: ev("a", 1) + "\n\n" + `data: {"error":{"code":500,"message":"compute failed","type":"server_error"}}` + "\n\n",
		Golden:  "testdata/request.golden.json", Update: *update,
		Caps: []string{"tokenizer", "cache_stats", "activity"}, Oracle: []string{"llama.cpp"},
	})
}
