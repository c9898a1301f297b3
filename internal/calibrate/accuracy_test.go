package calibrate

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// simEnv makes the test binary a simulator, so that the benchmark's server is another process as in a real run.
const simEnv = "LLM_SPEED_TEST_SIM_STREAMS"

func TestMain(m *testing.M) {
	if n := os.Getenv(simEnv); n != "" {
		streams := 1
		_, _ = fmt.Sscan(n, &streams)
		s, err := sim.Start(context.Background(), sim.Options{Profile: profile(streams, ordinary)})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.URL())
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the parent ends
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// BenchmarkAccuracy states how far the client is from the truth at 200 tok/s a stream: TTFT error p99 (limit 0.5 ms) and
// decode rate error (limit 0.5 %), worst of one stream, median over a pass of 16. The simulator is another process.
func BenchmarkAccuracy(b *testing.B) {
	for _, streamsAtOnce := range []int{1, 16} {
		b.Run(fmt.Sprintf("streams=%d", streamsAtOnce), func(b *testing.B) {
			url, end := otherProcess(b, streamsAtOnce)
			defer end()
			session, err := simdriver.Spec().Open(b.Context(), drivers.Config{
				URL: url, Clock: clock.New(), Env: func(string) string { return "" }, Log: b.Logf,
			}, drivers.Need{Context: 1024, Parallel: streamsAtOnce})
			if err != nil {
				b.Fatal(err)
			}
			defer session.Close()
			var ttft, decode, medians []float64
			for b.Loop() {
				var lengths []int
				for i := range streamsAtOnce {
					lengths = append(lengths, 100+i)
				}
				clearLog(b, url)
				got, err := streams(b.Context(), session, lengths)
				if err != nil {
					b.Fatal(err)
				}
				var pass []float64
				truth := readLog(b, url)
				for i, n := range lengths {
					t, ok := served(truth, n)
					if !ok {
						b.Fatalf("no log of the stream of %d tokens", n)
					}
					e := compare(got[i], t)
					ttft, pass = append(ttft, e.ttft), append(pass, e.decode)
				}
				decode = append(decode, pass...)
				m, _ := stats.Median(pass)
				medians = append(medians, m)
			}
			p99, _ := stats.Percentile(ttft, 0.99)
			p50, _ := stats.Median(ttft)
			b.ReportMetric(p50, "ttft-error-p50-ms")
			b.ReportMetric(p99, "ttft-error-p99-ms")
			b.ReportMetric(100*slices.Max(decode), "decode-error-worst-%")
			b.ReportMetric(100*slices.Max(medians), "decode-error-worst-pass-median-%")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func otherProcess(b *testing.B, n int) (url string, end func()) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", simEnv, n))
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
}

func clearLog(b *testing.B, url string) {
	b.Helper()
	req, _ := http.NewRequestWithContext(b.Context(), http.MethodDelete, url+"/sim/log", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
}

func readLog(b *testing.B, url string) []sim.Served {
	b.Helper()
	time.Sleep(10 * time.Millisecond)
	req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, url+"/sim/log", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var log []sim.Served
	if err := json.NewDecoder(resp.Body).Decode(&log); err != nil {
		b.Fatal(err)
	}
	return log
}
