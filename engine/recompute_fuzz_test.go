package engine

import (
	"encoding/json"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// A document may be damaged or hostile: it is computed or refused, and nothing panics.
func FuzzRecompute(f *testing.F) {
	for _, text := range []string{
		`{"raw_timings":[{"path":"a"}],"results":[{"key":"W1","status":"ok","passes":1,"samples":[{"pass":1,"raw":"a#0","inputs":{"template":-1}}]}]}`,
		`{"raw_timings":[{"path":"a"}],"results":[{"key":"W4","status":"ok","passes":1,"metrics":{"x":{"stats":{"p50":1},"values":[[1]]}},"batches":[{"pass":1,"streams":[0,1]},{"pass":1}],
		  "cold_probe":{"tokens":-4,"ttft_ms":1e300},"samples":[{"pass":1,"raw":"a#0","inputs":{"release":0,"extends":true}},{"pass":1,"stream":1,"raw":"a#1","prefill_method":"estimated","inputs":{"release":0,"cache_block":-3}}]}]}`,
		`{"results":[{},{"samples":[{}]}]}`,
	} {
		f.Add([]byte(text), 7)
	}
	f.Fuzz(func(_ *testing.T, text []byte, n int) {
		var doc record.Result
		if json.Unmarshal(text, &doc) != nil {
			return
		}
		recs := make([]stream.Recording, 3)
		Recompute(&doc, Sources{
			Load: func(record.RawFile) ([]stream.Recording, error) { return recs, nil },
			Decode: func(stream.Recording) (stream.Transcript, error) {
				count := stream.Count{N: n, From: stream.Usage}
				return stream.Transcript{
					Events: []stream.Event{{At: 1, Kind: stream.Content, Text: "a", Tokens: n}, {At: 2, Read: 1, Kind: stream.Content, Text: "b", Tokens: stream.NotStated}},
					Counts: stream.Counts{Prompt: count, Output: count, Cached: count},
				}, nil
			},
		})
	})
}
