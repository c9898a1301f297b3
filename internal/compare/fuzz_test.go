package compare

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Documents come from anywhere: none of them makes a comparison panic, or gives one that is no JSON.
func FuzzRuns(f *testing.F) {
	for _, r := range []*record.Result{made("a", 100, 101, 102, 103), made("b", 1)} {
		r.Rows[0].Batches = []record.Batch{{Pass: 1, Streams: []int{0, 9, -1}}}
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"results":[{"key":"x","status":"ok","reports":["server.queue_ms","a.b.c",""],"samples":[{"pass":1},{"pass":1,"inputs":{"release":-5}}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var a, b record.Result
		if json.Unmarshal(text, &a) != nil || json.Unmarshal(text, &b) != nil {
			return
		}
		r := Runs([]*record.Result{&a, &b, made("c", 100, 101)}, true, []string{"wall_ms", "fairness"})
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		for _, err := range []error{Table(io.Discard, r), Markdown(io.Discard, r), CSV(io.Discard, r), Benchstat(io.Discard, r, []*record.Result{&a, &b, &b})} {
			if err != nil {
				t.Error(err)
			}
		}
		r.Broken(Limit{Metric: "wall_ms"})
	})
}

func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"decode_tps<-5%", "W1/batch=8:ttft_ms > 1e3 %", "a:b:c<0%", "<%", "x<-0%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLimit(text)
		if err != nil {
			return
		}
		if again, err := ParseLimit(l.String()); err != nil || again != l {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, l, l.String(), again, err)
		}
	})
}
