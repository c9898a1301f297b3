package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// BenchmarkClientError reports, against a simulator in another process, by how much what this process measures differs
// from the simulator's log: TTFT from our send against its arrival, and each stream's decode rate.
func BenchmarkClientError(b *testing.B) {
	for _, streams := range []int{1, 16} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			c := config("", map[string]string{"profile": "rtx4090-8b-q4"})
			s, err := specOpen(c)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var ttft []time.Duration
			var decode []float64
			for b.Loop() {
				recs := make([]stream.Recording, streams)
				var wg sync.WaitGroup
				for i := range recs {
					wg.Go(func() {
						r := request(10, 128)
						r.Prompt.Messages = []chat.Message{{Role: "user", Content: fmt.Sprint("stream ", i, " of several ", strings.Repeat("word ", i+1))}}
						recs[i], _ = s.Stream(context.Background(), r)
					})
				}
				wg.Wait()
				truth := served(b, s.Info().URL)
				for _, rec := range recs {
					t, err := s.Decode(rec)
					if err != nil || len(t.Events) == 0 {
						b.Fatalf("decode: %v, %d events", err, len(t.Events))
					}
					for _, l := range truth {
						if l.PromptTokens != t.Counts.Prompt.N {
							continue
						}
						w := slices.DeleteFunc(l.Events, func(e sim.Sent) bool { return !e.TextBearing() })
						first, last := t.Events[0].At, t.Events[len(t.Events)-1].At
						ttft = append(ttft, first-rec.Send-w[0].End)
						decode = append(decode, 100*((w[len(w)-1].End-w[0].End).Seconds()/(last-first).Seconds()-1))
					}
				}
			}
			if len(ttft) < streams {
				b.Fatalf("%d streams matched", len(ttft))
			}
			slices.Sort(ttft)
			slices.Sort(decode)
			at := func(q float64) int { return int(q * float64(len(ttft)-1)) }
			b.ReportMetric(float64(ttft[0].Nanoseconds())/1e3, "ttft-min-µs")
			b.ReportMetric(float64(ttft[at(0.5)].Nanoseconds())/1e3, "ttft-p50-µs")
			b.ReportMetric(float64(ttft[at(0.99)].Nanoseconds())/1e3, "ttft-p99-µs")
			b.ReportMetric(decode[0], "decode-min-%")
			b.ReportMetric(decode[len(decode)-1], "decode-max-%")
		})
	}
}

func specOpen(c drivers.Config) (drivers.Session, error) {
	return simdriver.Spec().Open(context.Background(), c, drivers.Need{Context: 1000, Parallel: 16})
}

// served takes the simulator's log over HTTP and clears it.
func served(b *testing.B, url string) []sim.Served {
	b.Helper()
	var log []sim.Served
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		req, err := http.NewRequestWithContext(context.Background(), method, url+"/sim/log", nil)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		if method == http.MethodGet {
			if err := json.Unmarshal(body, &log); err != nil {
				b.Fatal(err)
			}
		}
	}
	return log
}
