package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/report"
)

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain RUN|FILE ROW [METRIC]",
		Short: "Show how the numbers of a row came about",
		Long: `Show how the numbers of a row came about: value, formula, the counts and stamps that went in and
where they come from, how requests and passes were combined, and the files with the raw frames.

RUN is a run's id, "last", or the path of a result. ROW is a row's key as the table's result has it
(W3/context=32768), or short: W1, W3/32k.`,
		Example: "  llm-speed explain last W1\n  llm-speed explain last W3/32k decode_tps",
		Args:    between(2, 3),
		RunE: func(_ *cobra.Command, args []string) error {
			saved, err := a.load(args[0])
			if err != nil {
				return err
			}
			metric := ""
			if len(args) > 2 {
				metric = args[2]
			}
			err = report.Explain(a.Stdout, saved.Result, args[1], metric, saved.LoadRaw, a.style())
			var unknown *report.UnknownError
			if errors.As(err, &unknown) {
				return fail(exitUsage, "", err)
			}
			return err
		},
	}
}
