package cli

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/suites"
)

// defaultSuite is what bench runs unasked.
const defaultSuite = "suite-v1"

// loadSuite reads a built-in suite by name, or one in a folder. official tells which.
func (a *app) loadSuite(ctx context.Context, name string, box sandboxed) (s *suite.Suite, official bool, err error) {
	var files fs.FS
	switch {
	case slices.Contains(suites.Names(), name):
		official = true
		if files, err = suites.Open(name); err != nil {
			return nil, false, err
		}
	case isDir(name):
		files = dirFS(name)
	default:
		return nil, false, usagef("unknown suite %q: neither a folder nor one of the built-in suites: %s", name, strings.Join(suites.Names(), ", "))
	}
	if s, err = suite.Load(ctx, files, box.evaluate); err != nil {
		return nil, false, fail(exitSuite, "", fmt.Errorf("suite %s: %w", name, err))
	}
	return s, official, nil
}

func (a *app) suite() *cobra.Command {
	cmd := &cobra.Command{Use: "suite", Short: "List, show, write, check, test and pack suites", Args: cobra.ArbitraryArgs, RunE: group}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the built-in suites", Args: between(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				for _, name := range suites.Names() {
					s, _, err := a.loadSuite(cmd.Context(), name, a.sandbox())
					if err != nil {
						return err
					}
					a.outf("%-12s %-8s %s  %s\n", s.Name, s.Version, report.ShortDigest(s.Digest), s.Title)
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "show NAME|DIR", Short: "Show what a suite runs and reports", Args: between(0, 1),
			RunE: func(cmd *cobra.Command, args []string) error {
				name := defaultSuite
				if len(args) > 0 {
					name = args[0]
				}
				s, official, err := a.loadSuite(cmd.Context(), name, a.sandbox())
				if err != nil {
					return err
				}
				return a.showSuite(s, official)
			},
		},
		a.suiteNew(), a.suiteCheck(), a.suiteTest(), a.suiteDocs(), a.suitePack())
	return cmd
}

func (a *app) showSuite(s *suite.Suite, official bool) error {
	kind := "not built in"
	if official {
		kind = "built in"
	}
	a.outf("%s %s  %s\n%s, %s\nprompt text: %s\nbudget: %g s, %g s with --quick\n", s.Name, s.Version, s.Title, s.Digest, kind, s.Generator, s.Budget.DefaultS, s.Budget.QuickS)
	for i := range s.Workloads {
		w := &s.Workloads[i]
		a.outf("\n%s %s: %s\n", w.ID, w.Name, w.Doc)
		for _, quick := range []bool{false, true} {
			shape, ok := w.ShapeFor(quick)
			if !ok {
				continue
			}
			rows, err := engine.PlanRows(s, []string{w.ID}, quick)
			if err != nil {
				return fail(exitSuite, "", err)
			}
			var keys []string
			for _, r := range rows {
				keys = append(keys, fmt.Sprintf("%s (context %d, parallel %d)", r.Key, r.Need.Context, r.Need.Parallel))
			}
			lead := "rows:"
			if quick {
				lead = "--quick:"
			}
			a.outf("  %-9s %s\n", lead, strings.Join(keys, ", "))
			a.outf("  %-9s %d\n", "passes:", max(shape.Passes, 1))
		}
		a.outf("  %-9s %s\n", "reports:", strings.Join(w.Reports, ", "))
		for _, r := range w.Relative {
			a.outf("  %-9s %s = %s relative to the base row: %s\n", "ratio:", r.Name, r.Metric, r.Title)
		}
		a.outf("  %-9s %s\n", "program:", w.Program)
	}
	return nil
}
