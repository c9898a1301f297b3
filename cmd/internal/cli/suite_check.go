package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/suite"
)

func (a *app) suiteCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check DIR|NAME", Short: "Find a suite's mistakes before anything runs", Args: between(1, 1),
		Long: `Find a suite's mistakes before anything runs: the syntax of every file, unknown names, files that load each other,
the schema of suite.jsonnet, and, by a rehearsal of every row with made-up answers, what the programs ask for against
what the suite says that it needs. Each row is rehearsed with every figure known and with every figure unknown (None).`,
		Example: "  llm-speed suite check ./my-suite",
		RunE: func(cmd *cobra.Command, args []string) error {
			box := a.sandbox()
			s, _, err := a.loadSuite(cmd.Context(), args[0], box)
			if err == nil {
				err = errors.Join(engine.Rehearse(cmd.Context(), s, box.compile), checkLoose(cmd.Context(), s, box))
			}
			if errors.Is(err, context.Canceled) {
				return err
			}
			var f *failure
			if errors.As(err, &f) && f.code != exitSuite {
				return err
			}
			problems := once(placed(args[0], engine.Problems(err)))
			if len(problems) == 0 {
				rows, err := engine.PlanRows(s, nil, false)
				if err != nil {
					return fail(exitSuite, "", err)
				}
				a.outf("%s %s: ok, %s, %s\n", s.Name, s.Version, report.Count(len(s.Workloads), "workload"), report.Count(len(rows), "row"))
				return nil
			}
			a.showProblems(args[0], problems)
			return fail(exitSuite, "", errors.New(report.Count(len(problems), "problem")))
		},
	}
}

// checkLoose checks the files of programs that no workload names: tests, and what programs load or have ceased to load.
func checkLoose(ctx context.Context, s *suite.Suite, box sandboxed) error {
	files, err := suite.Sources(s.Files)
	if err != nil {
		return err
	}
	programs := map[string]bool{}
	for i := range s.Workloads {
		programs[s.Workloads[i].Program] = true
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !programs[name] {
			wrong = append(wrong, box.loose(ctx, name, files))
		}
	}
	return errors.Join(wrong...)
}

// once leaves out what is said of a place for a second time.
func once(problems []suite.ProblemError) []suite.ProblemError {
	said := map[string]bool{}
	return slices.DeleteFunc(problems, func(p suite.ProblemError) bool {
		what, _, _ := strings.Cut(p.Msg, " (row ")
		key := fmt.Sprint(p.File, p.Line, p.Col, what)
		defer func() { said[key] = true }()
		return p.Line > 0 && said[key]
	})
}

// place is how errors of other packages name a place.
var place = regexp.MustCompile(`^([\w./-]+\.(?:jsonnet|libsonnet|star|json)):(\d+)(?::(\d+))?(?:-[\d:]+)?:? `)

// placed takes the places out of texts that have one.
func placed(name string, problems []suite.ProblemError) []suite.ProblemError {
	for i := range problems {
		p := &problems[i]
		if p.Line > 0 {
			continue
		}
		text := strings.TrimPrefix(strings.TrimPrefix(p.Error(), ": "), "suite "+name+": ")
		m := place.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		p.File, p.Where, p.Msg = m[1], "", text[len(m[0]):]
		p.Line, _ = strconv.Atoi(m[2])
		p.Col, _ = strconv.Atoi(m[3])
	}
	return problems
}

// showProblems prints each with its line of source.
func (a *app) showProblems(name string, problems []suite.ProblemError) {
	var files fs.FS
	if isDir(name) {
		files = dirFS(name)
	}
	for i := range problems {
		p := &problems[i]
		a.outf("%s\n", strings.TrimPrefix(p.Error(), ": "))
		line := ""
		if files != nil && p.Line > 0 {
			line = lineOf(files, p.File, p.Line)
		}
		if line == "" {
			continue
		}
		a.outf("    %s\n", line)
		if p.Col > 0 && p.Col <= len(line)+1 {
			lead := strings.Map(func(r rune) rune {
				if r == '\t' {
					return r
				}
				return ' '
			}, line[:min(p.Col-1, len(line))])
			a.outf("    %s^\n", lead)
		}
	}
}

// lineOf gives a line of a file, cut to what a terminal shows; empty where there is none.
func lineOf(files fs.FS, name string, n int) string {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(b), "\n")
	if n > len(lines) {
		return ""
	}
	line := strings.TrimRight(lines[n-1], "\r")
	if len(line) > 160 {
		line = strings.ToValidUTF8(line[:160], "") + "…"
	}
	return line
}
