package anthropic

import (
	"flag"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

func named(name, json string) string { return "event: " + name + "\ndata: " + json + "\n\n" }

// synthetic is a stream written from Anthropic's API reference, "Streaming messages".
var synthetic = []string{
	named("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":8,"cache_read_input_tokens":5,"output_tokens":1,"service_tier":"standard"}}}`) +
		named("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`) + named("ping", `{"type":"ping"}`),
	named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Bonjour, é"}}`),
	named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" 東京"}}`),
	named("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"!"}}`),
	named("content_block_stop", `{"type":"content_block_stop","index":0}`),
	named("message_delta", `{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":64}}`),
	named("message_stop", `{"type":"message_stop"}`),
}

func suite() drivertest.Suite {
	a := func(n int) stream.Count { return stream.Count{N: n, From: stream.Usage} }
	return drivertest.Suite{
		Spec: Spec(), Model: "m", KeyIn: "X-Api-Key",
		Answers: map[string]drivertest.Script{
			"GET /v1/models":                 drivertest.JSON(`{"data":[{"type":"model","id":"m","display_name":"M"}],"has_more":false}`),
			"POST /v1/messages/count_tokens": drivertest.JSON(`{"input_tokens":25}`),
		},
		Stream: "POST /v1/messages", Good: synthetic, Text: "Bonjour, é 東京!",
		Counts:  stream.Counts{Prompt: a(25), Cached: a(5), Output: a(64)},
		Failure: synthetic[0] + synthetic[1] + named("error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
		Golden:  "testdata/request.json", Update: *update,
		Caps: []string{"pace", "adapt", "token_count"}, Oracle: []string{"anthropic"},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, suite()) }
