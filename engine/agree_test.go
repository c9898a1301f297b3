package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/suites"
)

// simEnv makes the test binary a simulator, so that the benchmark's server is another process as in a real run.
const simEnv = "LLM_SPEED_TEST_SIM"

func TestMain(m *testing.M) {
	if os.Getenv(simEnv) == "" {
		os.Exit(m.Run())
	}
	s, err := sim.Start(context.Background(), sim.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the parent ends
	os.Exit(0)
}

// otherProcess starts a simulator as a process of its own, until the benchmark ends.
func otherProcess(b *testing.B) (url string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), simEnv+"=1")
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
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// BenchmarkTwoRunsAgree runs the quick suite twice, whole, against an idle simulator in another process, and reports the
// largest relative difference between any rate of the one and the same rate of the other. On an idle machine it is at
// most 1 %. It takes a minute:
//
//	go test ./engine -run '^$' -bench TwoRunsAgree -benchtime 1x
func BenchmarkTwoRunsAgree(b *testing.B) {
	files, err := suites.Open("suite-v1")
	if err != nil {
		b.Fatal(err)
	}
	s, err := suite.Load(b.Context(), files, suite.InProcess)
	if err != nil {
		b.Fatal(err)
	}
	url := otherProcess(b)
	worst, where := 0.0, ""
	for b.Loop() {
		var runs [2]*record.Result
		for i := range runs {
			runs[i], err = engine.Run(b.Context(), engine.Options{
				Suite: s, Official: true, Quick: true, Spec: simdriver.Spec(), Seed: uint64(i + 1), RunID: "bench",
				Config: drivers.Config{URL: url, Env: func(string) string { return "" }, Log: b.Logf},
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		for i, run := range runs {
			for _, row := range run.Rows {
				b.Logf("run %d %s: %d passes, CV %.4v, longest gap %s ms, flags %v", i+1, row.Key, row.Passes, row.CV, show(row.MaxGapms), row.Flags)
			}
		}
		for n, row := range runs[0].Rows {
			other := ratesOf(runs[1].Rows[n])
			for name, x := range ratesOf(row) {
				y, both := other[name]
				if !both {
					b.Fatalf("%s: only one run has %s", row.Key, name)
				}
				d := 100 * math.Abs(x-y) / math.Min(x, y)
				b.Logf("%s %s: %.6g and %.6g, %.3f %%", row.Key, name, x, y, d)
				if d >= worst {
					worst, where = d, row.Key+" "+name
				}
			}
		}
	}
	b.Logf("largest difference: %s", where)
	b.ReportMetric(worst, "largest-difference-%")
	b.ReportMetric(0, "ns/op")
}

// ratesOf are the rates of a row that are known, tokens a second.
func ratesOf(row record.Row) map[string]float64 {
	rates := map[string]float64{}
	for name, x := range map[string]*float64{
		"prefill_tps": row.PrefillTPS, "decode_tps": row.DecodeTPS, "aggregate_tps": row.AggregateTPS, "whole_span_tps": row.SpanTPS,
		"per_stream_tps": row.PerStreamTPS, "per_stream_p5_tps": row.PerStreamP5,
	} {
		if x != nil {
			rates[name] = *x
		}
	}
	return rates
}
