// Package cli is the command line: it reads what the user wants, puts engine, drivers, suites and store together, and shows
// what comes of it. Results go to stdout, all else to stderr. It measures nothing and decides nothing about a number.
package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/llm-speed/llm-speed/internal/report"
)

// Main runs the command line and gives the exit code.
func Main(p *Process) int {
	a := &app{Process: p}
	root := a.root()
	root.SetArgs(p.Args)
	err := root.ExecuteContext(context.Background())
	if err != nil && !errors.Is(err, errSilent) && !errors.Is(err, errInterrupted) {
		a.showError(err)
	}
	return codeOf(err)
}

// app is the command line of one process.
type app struct{ *Process }

func (a *app) showError(err error) {
	text := strings.TrimRight(err.Error(), "\n")
	a.errf("llm-speed: %s\n", text)
	if trace := backtraceOf(err); trace != "" {
		a.errf("%s\n", trace)
	}
	if hint := hintOf(err); hint != "" {
		a.errf("try: %s\n", hint)
	}
}

// warn tells something on stderr that does not end the command.
func (a *app) warn(format string, args ...any) { a.errf("llm-speed: "+format+"\n", args...) }

// style is how results are shown on stdout.
func (a *app) style() report.Style {
	width := 0
	if a.OutTTY && a.Width != nil {
		width = a.Width()
	}
	return report.Style{Color: a.OutTTY && a.Env("NO_COLOR") == "" && a.Env("TERM") != "dumb", Width: width}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "llm-speed",
		Short: "Measure how fast a language model is served",
		Long: `llm-speed measures how fast a language model is served on this machine: time to the
first token, prefill and decode speed, long contexts, parallel streams, agent sessions.
Every number can be explained down to the bytes that it was read from.`,
		Example: `  # find a server or a model, and run the suite
  llm-speed bench

  # show a run without one: simulated numbers
  llm-speed bench --backend sim

  # how the numbers of row W1 came about
  llm-speed explain last W1`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text := err.Error()
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) {
			f := invalid.GetFlag()
			text = fmt.Sprintf("--%s %q: want %s", f.Name, invalid.GetValue(), wants(f.Value.Type()))
		} else if strings.HasPrefix(text, "unknown ") {
			text += "; flags of " + cmd.CommandPath() + ": " + strings.Join(flagNames(cmd), ", ")
		}
		return fail(exitUsage, cmd.CommandPath()+" --help", errors.New(text))
	})
	root.SetHelpFunc(a.help)
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := fmt.Fprint(cmd.OutOrStderr(), usage(cmd, a.helpWidth()))
		return err
	})
	root.AddCommand(a.bench(), a.detect(), a.listModels(), a.runs(), a.compareCmd(), a.reportCmd(), a.explain(), a.sealCmd(), a.verifyCmd(), a.uploadCmd(), a.suite(), a.calibrate(), a.sim(), a.version(), a.guard(), a.worker(), a.selfUpdate(), a.manifestCmd())
	root.AddCommand(a.man())
	root.InitDefaultHelpCmd()
	a.completion(root)
	sections(root)
	a.completions(root)
	return root
}

// wants says what a flag of a type takes.
func wants(kind string) string {
	switch kind {
	case "int":
		return "a whole number"
	case "duration":
		return "a time, as 90s, 5m or 1h30m"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// group is the body of a command that only has others below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	err := &failure{code: exitUsage, hint: cmd.CommandPath() + " --help"}
	text := "unknown command " + quote(args[0]) + " of " + cmd.CommandPath() + "; commands: " + strings.Join(names, ", ")
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err.hint = cmd.CommandPath() + " " + near[0]
	}
	err.err = errors.New(text)
	return err
}

// quote shows an argument; a URL among them loses its credentials.
func quote(s string) string {
	if strings.Contains(s, "://") {
		s = shownURL(s)
	}
	return `"` + s + `"`
}

// flagNames lists the flags that a command takes.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return names
}

// between checks how many arguments a command was given; use names them.
func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return fail(exitUsage, cmd.CommandPath()+" --help", errors.New("something is missing: "+cmd.UseLine()))
		case len(args) > high:
			return fail(exitUsage, cmd.CommandPath()+" --help", errors.New("unexpected argument "+quote(args[high])+": "+cmd.UseLine()))
		}
		return nil
	}
}
