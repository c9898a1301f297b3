package openaicompat

import (
	"flag"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

func event(json string) string { return "data: " + json + "\n\n" }

// good is a chat stream with three events of text and its usage.
var good = []string{
	event(`{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`),
	event(`{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Bonjour, é"},"finish_reason":null}]}`),
	event(`{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":" 東京"},"finish_reason":null}]}`),
	event(`{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}`),
	event(`{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`),
	event(`{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":0}}}`),
	"data: [DONE]\n\n",
}

func suite() drivertest.Suite {
	return drivertest.Suite{
		Spec:    Spec(),
		Answers: map[string]drivertest.Script{"GET /v1/models": drivertest.JSON(`{"data":[{"id":"m","max_model_len":4096}]}`)},
		Stream:  "POST /v1/chat/completions",
		Good:    good,
		Text:    "Bonjour, é 東京!",
		Counts:  stream.Counts{Prompt: stream.Count{N: 5, From: stream.Usage}, Cached: stream.Count{N: 0, From: stream.Usage}, Output: stream.Count{N: 4, From: stream.Usage}},
		Failure: good[1] + event(`{"error":{"message":"out of memory","type":"server_error"}}`) + "data: [DONE]\n\n",
		Golden:  "testdata/request.json",
		Update:  *update,
		Oracle:  []string{"openai", "openai-completions"},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite()) }

func TestConformanceWithTokenizer(t *testing.T) {
	s := suite()
	s.Answers["GET /v1/models"] = drivertest.JSON(`{"data":[{"id":"m","max_model_len":4096,"owned_by":"vllm"}]}`)
	s.Answers["GET /version"] = drivertest.JSON(`{"version":"0.20.1"}`)
	s.Answers["POST /tokenize"] = drivertest.JSON(`{"count":5,"tokens":[1,2,3,4,5]}`)
	s.Golden, s.Caps, s.Oracle = "testdata/request_vllm.json", []string{"tokenizer"}, nil
	drivertest.Run(t, s)
}
