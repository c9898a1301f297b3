package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/manifest"
	"github.com/llm-speed/llm-speed/suites"
)

// defaultSuite is what bench runs unasked.
const defaultSuite = "suite-v1"

// loadSuite reads a suite: NAME, NAME@VERSION, or a folder. A bare name is the newest version there is, built in or installed,
// that was not revoked. official tells whether the project stands behind it.
func (a *app) loadSuite(ctx context.Context, name string, box sandboxed) (s *suite.Suite, official bool, err error) {
	if strings.ContainsAny(name, `/\`) {
		if !isDir(name) {
			return nil, false, usagef("%s: there is no such folder", name)
		}
		s, err = loadFiles(ctx, name, dirFS(name), box)
		return s, false, err
	}
	base, version, _ := strings.Cut(name, "@")
	var built *suite.Suite
	if slices.Contains(suites.Names(), base) {
		files, err := suites.Open(base)
		if err != nil {
			return nil, false, err
		}
		if built, err = loadFiles(ctx, base, files, box); err != nil {
			return nil, false, err
		}
		if version == built.Version {
			return built, a.standsBehind(built), nil
		}
	}
	s, official, note, err := a.installedSuite(ctx, base, version, box)
	switch {
	case err == nil && built != nil && version == "" && !manifest.Newer(s.Version, built.Version):
		return built, a.standsBehind(built), nil
	case err == nil:
		if note != "" {
			a.warn("%s", note)
		}
		return s, official, nil
	case built != nil && version == "":
		if !errors.Is(err, fs.ErrNotExist) { // what is built in needs nothing of what is installed
			a.warn("%v; the built-in %s@%s is taken instead", err, built.Name, built.Version)
		}
		return built, a.standsBehind(built), nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	case version == "" && isDir(name):
		s, err = loadFiles(ctx, name, dirFS(name), box)
		return s, false, err
	}
	return nil, false, usagef("unknown suite %q: neither a folder nor one of the suites that are here: %s; llm-speed self-update brings new ones", name, strings.Join(a.suiteKeys(ctx, box), ", "))
}

// standsBehind tells whether a built-in suite is still the project's, as far as this machine was told; where it is not, that
// is said.
func (a *app) standsBehind(s *suite.Suite) bool {
	dir, err := a.suitesDir()
	if err != nil {
		return true
	}
	reason, revoked, err := manifest.RevokedBy(dir, s.Name, s.Version)
	if err == nil && revoked {
		a.warn("suite %s@%s was revoked: %s; its results are not official; llm-speed self-update brings newer ones", s.Name, s.Version, orElse(reason, "no reason given"))
		return false
	}
	return true
}

func loadFiles(ctx context.Context, name string, files fs.FS, box sandboxed) (*suite.Suite, error) {
	s, err := suite.Load(ctx, files, box.evaluate)
	if err != nil {
		return nil, fail(exitSuite, "", fmt.Errorf("suite %s: %w", name, err))
	}
	return s, nil
}

// suiteKeys lists the suites that are here as NAME@VERSION, the built-in ones first.
func (a *app) suiteKeys(ctx context.Context, box sandboxed) []string {
	keys := builtInKeys(ctx, box)
	if dir, err := a.suitesDir(); err == nil {
		if in, err := manifest.Suites(dir); err == nil {
			for i := range in {
				keys = append(keys, in[i].Key())
			}
		}
	}
	return keys
}

// builtInKeys lists the built-in suites.
func builtInKeys(ctx context.Context, box sandboxed) []string {
	var keys []string
	for _, name := range suites.Names() {
		files, err := suites.Open(name)
		if err != nil {
			continue
		}
		if s, err := suite.Load(ctx, files, box.evaluate); err == nil {
			keys = append(keys, s.Name+"@"+s.Version)
		}
	}
	return keys
}

func (a *app) suite() *cobra.Command {
	cmd := &cobra.Command{Use: "suite", Short: "List, show, write, check, test and pack suites", Example: "  llm-speed suite show suite-v1\n  llm-speed suite new my-suite", Args: cobra.ArbitraryArgs, RunE: group}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the suites that are here", Args: between(0, 0), Example: "  llm-speed suite list",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return a.listSuites(cmd.Context())
			},
		},
		&cobra.Command{
			Use: "show [NAME|DIR]", Short: "Show what a suite runs and reports", Args: between(0, 1),
			Example: "  llm-speed suite show suite-v1\n  llm-speed suite show ./my-suite",
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
		a.suiteNew(), a.suiteCheck(), a.suiteTest(), a.suiteDocs(), a.suitePack(), a.suiteRemove())
	return cmd
}

func (a *app) showSuite(s *suite.Suite, official bool) error {
	kind := "not official"
	if official {
		kind = "official"
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

func (a *app) suiteRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME@VERSION", Short: "Remove an installed suite", Args: between(1, 1), Example: "  llm-speed suite rm suite-v2@2.0.0",
		Long: "Remove an installed version of a suite. Built-in ones stay; self-update brings a removed one back while its manifest lists it\nas current.",
		RunE: func(_ *cobra.Command, args []string) error {
			name, version, ok := strings.Cut(args[0], "@")
			if !ok {
				return usagef("%q: want NAME@VERSION, as suite list shows them", args[0])
			}
			dir, err := a.suitesDir()
			if err != nil {
				return err
			}
			err = manifest.Remove(dir, name, version)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return usagef("%w", err)
			case err != nil:
				return fail(exitVerify, manifest.Advice(err), err)
			}
			a.outf("removed %s\n", args[0])
			return nil
		},
	}
}

// listSuites prints the built-in suites and the installed ones.
func (a *app) listSuites(ctx context.Context) error {
	box := a.sandbox()
	for _, name := range suites.Names() {
		files, err := suites.Open(name)
		if err != nil {
			return err
		}
		s, err := loadFiles(ctx, name, files, box)
		if err != nil {
			return err
		}
		state := "built in"
		if dir, err := a.suitesDir(); err == nil {
			if reason, revoked, err := manifest.RevokedBy(dir, s.Name, s.Version); err == nil && revoked {
				state += ", revoked: " + orElse(reason, "no reason given")
			}
		}
		a.outf("%-12s %-8s %s  %s   %s\n", s.Name, s.Version, report.ShortDigest(s.Digest), state, s.Title)
	}
	dir, err := a.suitesDir()
	if err != nil {
		return err
	}
	installed, err := manifest.Suites(dir)
	if err != nil {
		return fail(exitVerify, manifest.Advice(err), err)
	}
	for i := range installed {
		in := &installed[i]
		state := "installed"
		switch in.Status {
		case manifest.Old:
			state = "installed, there is a newer one"
		case manifest.Revoked:
			state = "revoked: " + orElse(in.Reason, "no reason given")
		}
		a.outf("%-12s %-8s %s  %s, channel %s\n", in.Name, in.Version, report.ShortDigest(in.Digest), state, in.Channel)
	}
	return nil
}
