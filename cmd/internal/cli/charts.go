package cli

import (
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// charts draws small charts beneath the table of a run, where a terminal shows it: a file or a pipe gets the table alone.
func (a *app) charts(r *record.Result) error {
	if !a.OutTTY || a.Env("TERM") == "dumb" {
		return nil
	}
	if err := report.Charts(a.Stdout, r, a.style(), a.blocks()); err != nil {
		return fmt.Errorf("show the charts: %w", err)
	}
	return nil
}

// blocks reports whether the terminal shows block elements: where the locale says UTF-8, and in Windows Terminal, which
// sets no locale.
func (a *app) blocks() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set counts, by POSIX
		if text := strings.ToLower(a.Env(name)); text != "" {
			return strings.Contains(text, "utf-8") || strings.Contains(text, "utf8")
		}
	}
	return a.Env("WT_SESSION") != ""
}
