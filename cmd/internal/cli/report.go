package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/page"
	"github.com/llm-speed/llm-speed/internal/report"
)

// reportFlags are a report as it was asked for.
type reportFlags struct {
	out, format string
	streams     []string
	charts      []string
	force, dark bool
}

// reportFormats are what a report is written as; the first is what is taken where nothing says another.
func reportFormats() []string { return []string{"html", "md", "csv", "json", "svg", "png"} }

func (a *app) reportCmd() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use: "report RUN|FILE...", Short: "Make one document of a run, or of several: figures, charts, flags",
		Long: `Make one document of a run, or of up to six side by side: headline figures with their intervals,
charts with their data, flags with their evidence, hardware, calibration. The HTML is one file that
loads nothing, needs no script, follows light and dark, and prints.

RUN is a run's id or the beginning of it, "last", "last~1" for the one before, or the path of a
result. The charts of token latency and of single streams need the run's recordings; where those are
gone the document says so. Runs that were not measured alike do not share charts, unless with --force.

The format follows from the name of -o: .html, .md, .csv, .json, .svg or .png.`,
		Example: `  llm-speed report last -o report.html
  llm-speed report last~1 last -o both.html
  llm-speed report last --stream W4/batch=8/1/3 -o report.html
  llm-speed report last --chart w3-over-decode-tps -o decay.png`,
		Args: between(1, page.MaxRuns),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.makeReport(args, f)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.out, "output", "o", "", "write to `FILE`; - is stdout (default: stdout, but html and png need a file)")
	fl.StringVar(&f.format, "format", "", "`FORMAT`: "+strings.Join(reportFormats(), ", ")+" (default: by the name of -o, else html)")
	fl.StringArrayVar(&f.streams, "stream", nil, "show this stream token by token: `ROW/PASS/STREAM`; may be given more than once (default: one of each workload)")
	fl.StringSliceVar(&f.charts, "chart", nil, "svg and png: only these charts, `ID,...`")
	fl.BoolVar(&f.dark, "dark", false, "png: light on dark")
	fl.BoolVar(&f.force, "force", false, "let runs share charts that were not measured alike too")
	choices(cmd, reportFormats())
	return cmd
}

// formatOf is the format that was asked for, in words or by a file's name.
func (f *reportFlags) formatOf() (string, error) {
	list := strings.Join(reportFormats(), ", ")
	format := strings.ToLower(f.format)
	if format == "" {
		format = strings.TrimPrefix(strings.ToLower(filepath.Ext(f.out)), ".")
		switch format {
		case "htm":
			format = "html"
		case "markdown":
			format = "md"
		}
		if format == "" {
			format = "html"
		}
		if !slices.Contains(reportFormats(), format) {
			return "", usagef("-o %s: no format has the name %q; want one of %s, or say --format", f.out, format, list)
		}
	}
	if !slices.Contains(reportFormats(), format) {
		return "", usagef("--format %q: want one of %s", f.format, list)
	}
	picture := format == "svg" || format == "png"
	switch {
	case len(f.charts) > 0 && !picture:
		return "", usagef("--chart is for svg and png; %s has all charts", format)
	case f.dark && format != "png":
		return "", usagef("--dark is for png; html and svg follow the reader's own choice")
	}
	return format, nil
}

// makeReport reads the runs, puts the document together, and writes it.
func (a *app) makeReport(refs []string, f reportFlags) error {
	format, err := f.formatOf()
	if err != nil {
		return err
	}
	if f.out == "" && (format == "html" || format == "png") {
		if f.format == "" && !a.OutTTY {
			f.out = "-"
		} else if a.OutTTY {
			return fail(exitUsage, "llm-speed report "+strings.Join(refs, " ")+" -o report."+format, fmt.Errorf("%s is nothing for a terminal: name a file", format))
		}
	}
	o := page.Options{Force: f.force}
	for _, text := range f.streams {
		pick, err := page.ParsePick(text)
		if err != nil {
			return usagef("--stream %w", err)
		}
		o.Streams = append(o.Streams, pick)
	}
	var runs []page.Run
	seen := map[string]string{}
	for _, ref := range refs {
		saved, err := a.load(ref)
		if err != nil {
			return err
		}
		if before, ok := seen[saved.Path]; ok {
			return usagef("%s and %s are the same run; name each once", before, ref)
		}
		seen[saved.Path] = ref
		runs = append(runs, a.reported(saved))
	}
	r, err := page.Build(runs, o)
	if err != nil {
		var unknown *report.UnknownError
		if errors.As(err, &unknown) || len(f.streams) > 0 {
			return usagef("--stream: %w", err)
		}
		return err
	}
	var out bytes.Buffer
	if err := writeReport(&out, r, format, f); err != nil {
		return err
	}
	if f.out == "" || f.out == "-" {
		_, err := a.Stdout.Write(out.Bytes())
		return err
	}
	file, err := prepareFile(f.out)
	if err == nil {
		err = file.write(out.Bytes())
	}
	if err != nil {
		return fail(exitFailed, "", fmt.Errorf("write the report: %w", err))
	}
	a.errf("wrote %s, %.0f kB\n", f.out, float64(out.Len())/1000)
	return nil
}

func writeReport(out *bytes.Buffer, r *page.Report, format string, f reportFlags) error {
	switch format {
	case "md":
		return r.Markdown(out)
	case "csv":
		return r.CSV(out)
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	case "svg", "png":
		sheet, err := r.Picture(f.charts, f.dark)
		if err != nil {
			return usagef("--chart: %w", err)
		}
		if len(f.charts) == 0 && len(sheet.Charts) == 0 && len(sheet.Table) == 1 {
			return errors.New("the run has no row: there is nothing to draw")
		}
		if format == "svg" {
			return sheet.SVG(out)
		}
		return sheet.PNG(out)
	}
	return r.HTML(out)
}
