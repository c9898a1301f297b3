package openai

import (
	"strings"
	"testing"
)

// BenchmarkDecode decodes a stream of 8192 events with running counts, which happens after the stream, never in it.
func BenchmarkDecode(b *testing.B) {
	const events = 8192
	one := `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"
	rec := recording(strings.Repeat(one, events) + body(stopped))
	b.ReportAllocs()
	for b.Loop() {
		if t, err := Decode(rec); err != nil || len(t.Events) != events {
			b.Fatal(len(t.Events), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}
