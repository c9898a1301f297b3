package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/store"
)

func (a *app) runs() *cobra.Command {
	var asJSON bool
	var f runFilter
	cmd := &cobra.Command{
		Use: "runs", Short: "List the saved runs, the newest first; show, remove, recompute, export, import them",
		Long: `List the saved runs, the newest first. A run whose document is damaged is listed as damaged.

Times are UTC. --since and --until take a day (2026-11-23), a time (2026-11-23T14:25 or with a
zone), or an age: 90m, 12h, 7d, 2w.`,
		Example: `  llm-speed runs --backend llamacpp --since 7d
  llm-speed runs show last
  llm-speed runs rm 20261123-142501-k3f9`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return group(cmd, args)
			}
			return a.listRuns(f, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&f.backend, "backend", "", "only runs on `BACKEND`")
	cmd.Flags().StringVar(&f.model, "model", "", "only runs of models whose name holds `TEXT`")
	cmd.Flags().StringVar(&f.workload, "workload", "", "only runs with rows of `WORKLOAD`, by id or name")
	cmd.Flags().StringVar(&f.since, "since", "", "only runs that began `WHEN` or later")
	cmd.Flags().StringVar(&f.until, "until", "", "only runs that began `WHEN` or earlier; a day counts to its end")
	cmd.AddCommand(a.runsShow(), a.runsRemove(), a.runsRecompute(), a.runsExport(), a.runsImport())
	return cmd
}

// runFilter is which runs a user wants to see; an empty field wants all.
type runFilter struct{ backend, model, workload, since, until string }

// listedRun is a run in the JSON list.
type listedRun struct{ store.Summary }

// damagedRun is one in the JSON list whose document can't be read.
type damagedRun struct {
	RunID   string `json:"run_id"`
	Damaged string `json:"damaged"` // why it can't be read
}

func (a *app) listRuns(f runFilter, asJSON bool) error {
	keep, err := f.compile(time.Now())
	if err != nil {
		return err
	}
	st, err := a.store()
	if err != nil {
		return err
	}
	all, err := st.Summaries()
	if err != nil {
		return err
	}
	shown := slices.DeleteFunc(slices.Clone(all), func(l store.Listed) bool { return !keep(l) })
	if asJSON {
		lines := make([]json.RawMessage, len(shown))
		for i, l := range shown {
			var line any = listedRun{l.Summary}
			if l.Err != nil {
				line = damagedRun{l.ID, l.Err.Error()}
			}
			if lines[i], err = json.Marshal(line); err != nil {
				return fmt.Errorf("encode run %s: %w", l.ID, err)
			}
		}
		return a.writeJSON(lines)
	}
	switch {
	case len(all) == 0:
		a.warn("no run has been saved yet")
	case len(shown) == 0:
		a.warn("none of %s is of this kind", report.Count(len(all), "saved run"))
	default:
		a.outf("%s", runTable(shown))
	}
	return nil
}

// runTable shows runs a line each, with their columns aligned.
func runTable(runs []store.Listed) string {
	lines := [][]string{{"RUN", "STARTED (UTC)", "STATE", "MODE", "SUITE", "BACKEND", "MODEL", "ROWS"}}
	for _, l := range runs {
		if l.Err != nil {
			_, why, _ := strings.Cut(l.Err.Error(), l.ID)
			why = strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(why, `/\: `), "result.json"), ": ")
			lines = append(lines, []string{l.ID, startOf(l).Format(shownTime), "damaged", strings.TrimPrefix(why, "damaged: ")})
			continue
		}
		s := l.Summary
		rows := fmt.Sprintf("%d ok, %d skipped, %d failed", s.OK, s.Skipped, s.Failed)
		if s.Simulated {
			rows += " · simulated"
		}
		if s.Imported {
			rows += " · imported"
		}
		lines = append(lines, []string{
			l.ID, s.Started.UTC().Format(shownTime), string(s.State), orElse(s.Mode, "-"), s.Suite, s.Backend, orElse(strings.Join(nonEmpty(s.Model, s.Quant), " "), "-"), rows,
		})
	}
	return aligned(lines)
}

const shownTime = "2006-01-02 15:04"

// aligned sets cells into columns with two spaces between them. A line's last cell widens no column.
func aligned(lines [][]string) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			line[i] = strings.Map(func(r rune) rune {
				if unicode.IsControl(r) {
					return ' '
				}
				return r
			}, cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < len(line)-1 {
				widths[i] = max(widths[i], columns(line[i]))
			}
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-columns(cell)+2))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// compile makes a test of the filter. Of a damaged run nothing is known but when it began: it is listed where that is all
// that is asked for.
func (f runFilter) compile(now time.Time) (func(store.Listed) bool, error) {
	since, _, err := parseWhen("--since", f.since, now)
	if err != nil {
		return nil, err
	}
	_, until, err := parseWhen("--until", f.until, now)
	if err != nil {
		return nil, err
	}
	return func(l store.Listed) bool {
		s, at := l.Summary, startOf(l)
		if f.since != "" && at.Before(since) || f.until != "" && at.After(until) {
			return false
		}
		if l.Err != nil {
			return f.backend == "" && f.model == "" && f.workload == ""
		}
		return (f.backend == "" || strings.EqualFold(f.backend, s.Backend)) &&
			(f.model == "" || strings.Contains(strings.ToLower(s.Model+" "+s.Quant), strings.ToLower(f.model))) &&
			(f.workload == "" || slices.ContainsFunc(s.Workloads, func(w store.Workload) bool {
				return strings.EqualFold(f.workload, w.ID) || strings.EqualFold(f.workload, w.Name)
			}))
	}, nil
}

// startOf is when a run began: as its document says, else as its id does.
func startOf(l store.Listed) time.Time {
	if l.Err == nil && !l.Summary.Started.IsZero() {
		return l.Summary.Started
	}
	at, err := time.Parse("20060102-150405", l.ID[:min(len(l.ID), 15)])
	if err != nil {
		return time.Time{}
	}
	return at
}

// parseWhen understands a time that a user gives: the first and the last moment that it may mean.
func parseWhen(flag, text string, now time.Time) (first, last time.Time, err error) {
	if text == "" {
		return first, last, nil
	}
	if day, err := time.Parse("2006-01-02", text); err == nil {
		return day, day.Add(24*time.Hour - 1), nil
	}
	if minute, err := time.Parse("2006-01-02T15:04", text); err == nil {
		return minute, minute.Add(time.Minute - 1), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, at, nil
		}
	}
	if age, ok := parseAge(text); ok {
		return now.Add(-age), now.Add(-age), nil
	}
	return first, last, usagef("%s %q: want a day (2026-11-23), a time (2026-11-23T14:25), or an age (90m, 12h, 7d, 2w)", flag, text)
}

// parseAge understands 90m, 12h, 7d, 2w.
func parseAge(text string) (time.Duration, bool) {
	unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 16)
	if unit == 0 || err != nil {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
