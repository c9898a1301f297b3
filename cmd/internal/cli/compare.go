package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/record"
)

// maxCompared bounds how many runs are compared at once.
const maxCompared = 20

func (a *app) compareCmd() *cobra.Command {
	var format string
	var force bool
	var failIf []string
	cmd := &cobra.Command{
		Use: "compare A B [C...]", Short: "Compare runs: what changed, and whether that is a difference at all",
		Long: `Compare runs with the first one: each figure with its 95 % interval, the change in percent, and
whether that is a difference at all: a Mann-Whitney U test over the passes, ~ where it is not. Four
passes of each (bench --repeats 4) are the least that can show a difference.

A, B, … are ids of runs or the beginning of them, "last", "last~1" for the one before, or paths of
results. Runs that were not measured alike (suite, mode, model, quantisation, sizes, parallelism) are
not lined up, unless with --force; what differs stands first. Runs of llama-bench (runs import) are
compared with each other; beside llm-speed's own --force shows their figures and no change.

--fail-if exits with 1 where a change is past a limit, and where that can't be judged: 'decode_tps<-5%'
for every row, 'W1:ttft_ms>10%' for one. A change that passes do not show is none; one with too few
passes for a test counts as it stands.`,
		Example: `  llm-speed compare last~1 last
  llm-speed compare before.json after.json --fail-if 'decode_tps<-5%' --format md`,
		Args: between(2, maxCompared),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.compareRuns(args, format, force, failIf)
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "`FORMAT`: table, md, csv, json, or benchstat (for golang.org/x/perf: benchstat -col run FILE)")
	cmd.Flags().BoolVar(&force, "force", false, "line up rows that were not measured alike too")
	cmd.Flags().StringArrayVar(&failIf, "fail-if", nil, "exit with 1 where a change is past `LIMIT`, as 'decode_tps<-5%'; may be given more than once")
	choices(cmd, compareFormats())
	return cmd
}

// compareFormats are what a comparison is written as.
func compareFormats() []string { return []string{"table", "md", "csv", "json", "benchstat"} }

func (a *app) compareRuns(refs []string, format string, force bool, failIf []string) error {
	if formats := compareFormats(); !slices.Contains(formats, format) {
		return usagef("--format %q: want one of %s", format, strings.Join(formats, ", "))
	}
	var limits []compare.Limit
	var metrics []string
	for _, text := range failIf {
		l, err := compare.ParseLimit(text)
		if err != nil {
			return usagef("--fail-if %w", err)
		}
		limits, metrics = append(limits, l), append(metrics, l.Metric)
	}
	var results []*record.Result
	for _, ref := range refs {
		saved, err := a.load(ref)
		if err != nil {
			return err
		}
		results = append(results, saved.Result)
	}
	r := compare.Runs(results, force, metrics)
	if err := a.showComparison(r, results, format); err != nil {
		return fmt.Errorf("show the comparison: %w", err)
	}
	compared := slices.ContainsFunc(r.Rows, func(row compare.Row) bool { return len(row.Refused) == 0 })
	var broken []string
	for _, l := range limits {
		broken = append(broken, r.Broken(l)...)
	}
	for _, line := range broken {
		a.warn("%s", line)
	}
	switch {
	case len(r.Beside) > 0 && len(limits) == 0: // shown, as asked for, and no change claimed
		return nil
	case !compared && len(r.Differ) > 0:
		return fail(exitFailed, "llm-speed compare --force "+strings.Join(refs, " "), errors.New("nothing was compared: the runs were not measured alike"))
	case !compared:
		return fail(exitFailed, "", errors.New("nothing was compared: the runs have no row that both have measured in the same way"))
	case len(broken) > 0:
		return fail(exitFailed, "", fmt.Errorf("--fail-if: %d of what was asked for did not hold", len(broken)))
	}
	return nil
}

func (a *app) showComparison(r *compare.Result, results []*record.Result, format string) error {
	switch format {
	case "json":
		return a.writeJSON(r)
	case "md":
		return compare.Markdown(a.Stdout, r)
	case "csv":
		return compare.CSV(a.Stdout, r)
	case "benchstat":
		for _, row := range r.Rows {
			if len(row.Refused) > 0 {
				a.warn("%s is left out: %s", row.Key, strings.Join(row.Refused, "; "))
			}
		}
		return compare.Benchstat(a.Stdout, r, results)
	}
	return compare.Table(a.Stdout, r)
}
