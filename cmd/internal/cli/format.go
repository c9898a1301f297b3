package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/formats"
	"github.com/llm-speed/llm-speed/internal/page"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// runFormats are what one run is written as; the first is for people at a terminal. docs/formats.md describes them.
func runFormats() []string {
	return []string{"table", "md", "csv", "json", "jsonl", "benchstat", "openmetrics"}
}

// checkFormat refuses a format that there is none of.
func checkFormat(format string) error {
	if !slices.Contains(runFormats(), format) {
		return usagef("--format %q: want one of %s", format, strings.Join(runFormats(), ", "))
	}
	return nil
}

// writeRun writes a run in one of runFormats.
func (a *app) writeRun(w io.Writer, r *record.Result, format string) error {
	err := func() error {
		switch format {
		case "md", "csv":
			p, err := page.Build([]page.Run{{Result: r}}, page.Options{})
			if err != nil {
				return err
			}
			if format == "md" {
				return p.Markdown(w)
			}
			return p.CSV(w)
		case "json":
			text, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				return err
			}
			_, err = w.Write(append(text, '\n'))
			return err
		case "jsonl":
			return formats.Lines(w, r)
		case "benchstat":
			return compare.Benchstat(w, compare.Runs([]*record.Result{r}, false, nil), []*record.Result{r})
		case "openmetrics":
			return formats.OpenMetrics(w, r)
		case "table":
			return report.Table(w, r, a.style())
		}
		return errors.New("unknown format " + format)
	}()
	if err != nil {
		return fmt.Errorf("show the result as %s: %w", format, err)
	}
	return nil
}
