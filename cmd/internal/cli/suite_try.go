package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// suiteTests is the file of a suite that says what must hold of its results.
const suiteTests = "suite_test.star"

func (a *app) suiteTest() *cobra.Command {
	var quick bool
	var profile, traps string
	var workloads []string
	cmd := &cobra.Command{
		Use: "test DIR|NAME", Short: "Run a suite on the simulator and hold its results against suite_test.star", Args: between(1, 1),
		Long: `Run a suite on the simulator, whose timetable is known, and hold its results against the functions test_…(t) of the
suite's suite_test.star. There, t.result is the result document, t.row(key) a row of it; t.true(cond), t.equal(got, want),
t.near(got, want, percent=…), t.known(got) and t.fail(msg) note what does not hold. A suite without tests passes when
every row is ok. Nothing is saved.`,
		Example: "  llm-speed suite test ./my-suite\n  llm-speed suite test ./my-suite --traps reasoning=20",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := a.interruptible(cmd.Context(), func() {})
			defer stop()
			box := a.sandbox()
			s, official, err := a.loadSuite(ctx, args[0], box)
			if err != nil {
				return err
			}
			exe, err := a.Executable()
			if err != nil {
				return fmt.Errorf("this program's own path can't be told, which the simulator needs: %w", err)
			}
			config := a.config(target{})
			config.Options = map[string]string{"profile": profile, "traps": traps, "exe": exe}
			if err := a.checkSim(sim.Spec(), config.Options); err != nil {
				return err
			}
			client := a.client()
			result, err := engine.Run(ctx, engine.Options{
				Suite: s, Official: official, Workloads: workloads, Quick: quick, Spec: sim.Spec(), Config: config, Compile: box.compile,
				Seed: 1, Repeats: 2, MaxTime: 10 * time.Minute, Client: client, RunID: "suite-test",
			})
			if err != nil {
				return err
			}
			return a.holdSuite(ctx, box, s.Files, result)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&quick, "quick", false, "the suite's quick shape")
	f.StringSliceVar(&workloads, "workload", nil, "workloads or rows to run, `ROW,...` (default: all)")
	f.StringVar(&profile, "profile", "fast", "`PROFILE` of the simulator; see llm-speed sim --help")
	f.StringVar(&traps, "traps", "", "misbehaviour of the simulator, `TRAP,...`")
	return cmd
}

// holdSuite tells how the rows went, runs the suite's tests, and tells how these went.
func (a *app) holdSuite(ctx context.Context, box sandboxed, files fs.FS, result *record.Result) error {
	bad := 0
	for i := range result.Rows {
		row := &result.Rows[i]
		if row.Status != record.OK {
			bad++
			a.outf("row  %s %s: %s\n", row.Key, row.Status, row.Reason)
		}
	}
	src, err := fs.ReadFile(files, suiteTests)
	if errors.Is(err, fs.ErrNotExist) {
		a.outf("%s on the simulator, %d not ok; no %s\n", report.Count(len(result.Rows), "row"), bad, suiteTests)
		if bad > 0 {
			return fail(exitFailed, "", errSilent)
		}
		return nil
	}
	if err != nil {
		return err
	}
	b, err := json.Marshal(result)
	if err != nil {
		return err
	}
	tests, err := box.test(ctx, suiteTests, src, b)
	if err != nil {
		return fail(exitSuite, "", err)
	}
	failed := 0
	for _, t := range tests {
		if len(t.Failures) == 0 {
			a.outf("ok   %s\n", t.Name)
		} else {
			failed++
			a.outf("FAIL %s\n", t.Name)
		}
		for _, f := range t.Failures {
			a.outf("     %v\n", f)
		}
		for _, line := range t.Printed {
			a.outf("     | %s\n", strings.ReplaceAll(line, "\n", "\n     | "))
		}
	}
	a.outf("%s on the simulator, %d not ok; %s, %d failed\n", report.Count(len(result.Rows), "row"), bad, report.Count(len(tests), "test"), failed)
	if failed > 0 {
		return fail(exitFailed, "", errSilent)
	}
	return nil
}

// testInProcess runs a suite's tests in this process.
func testInProcess(ctx context.Context, name string, src, result []byte) ([]builtins.Tested, error) {
	var doc map[string]any
	if err := json.Unmarshal(result, &doc); err != nil {
		return nil, err
	}
	return builtins.RunTests(ctx, name, src, doc)
}
