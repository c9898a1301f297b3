package cli

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/store"
)

func (a *app) runsShow() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "show RUN|FILE", Short: "Show the table of a run, or write it for other programs",
		Long: `Show the table of a run, or write it for other programs: docs/formats.md describes the formats. RUN
is a run's id or the beginning of it, "last", "last~1" for the one before, or the path of a result.`,
		Example: `  llm-speed runs show last
  llm-speed runs show last --format jsonl | jq .figures.decode_tps.value
  llm-speed runs show last --format openmetrics`,
		Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			saved, err := a.load(args[0])
			if err != nil {
				return err
			}
			if format == "json" { // as it is on the disk, to the byte
				text, err := saved.Document()
				if err == nil {
					_, err = a.Stdout.Write(text)
				}
				return err
			}
			return a.writeRun(a.Stdout, saved.Result, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "`FORMAT`: "+strings.Join(runFormats(), ", "))
	choices(cmd, runFormats())
	return cmd
}

func (a *app) runsRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm RUN...", Short: "Remove runs with their recordings",
		Long: `Remove runs with their recordings, for good. RUN is a run's id or the beginning of it, "last", or
"last~1" for the one before. Nothing is removed where one of them does not exist; a run that is being
written stays.`,
		Example: "  llm-speed runs rm last\n  llm-speed runs rm --yes 20261123-142501-k3f9 20261123-150112-x0qz",
		Args:    between(1, 10_000),
		RunE:    func(_ *cobra.Command, args []string) error { return a.removeRuns(args, yes) },
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "ask nothing")
	return cmd
}

func (a *app) removeRuns(refs []string, yes bool) error {
	st, err := a.store()
	if err != nil {
		return err
	}
	var ids []string
	for _, ref := range refs {
		id, err := st.Find(ref)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fail(exitUsage, "llm-speed runs", fmt.Errorf("nothing was removed: %w", err))
		case err != nil:
			return fail(exitUsage, "llm-speed runs", fmt.Errorf("nothing was removed: %w", err))
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if !yes {
		a.errf("remove %s for good? %s [y/N] ", report.Count(len(ids), "run"), strings.Join(ids, " "))
		answer, _ := bufio.NewReader(a.Stdin).ReadString('\n') // nobody there is no
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			a.errf("\n")
			return fail(exitUsage, "llm-speed runs rm --yes "+strings.Join(ids, " "), errors.New("nothing was removed: it was not answered with y"))
		}
	}
	var failed []error
	for _, id := range ids {
		if err := st.Remove(id); err != nil {
			failed = append(failed, err)
			continue
		}
		if err := queueOf(st).Erase(id); err != nil { // nobody uploads what they have removed
			failed = append(failed, fmt.Errorf("the run is removed, what of it was queued for upload is not: %w", err))
		}
		a.outf("removed %s\n", id)
	}
	return errors.Join(failed...)
}
