package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Completion of a value follows the word that stands for it: RUN in "show RUN", BACKEND in the help of --backend. A word that
// is not known here completes to nothing, and to no file either.

// tabTime is how long a TAB may look for values. What is not known by then is left out: a shell waits, and shows nothing,
// until the program has ended.
const tabTime = 220 * time.Millisecond

// tabTimeEnv sets another time, for slow disks and for tests.
const tabTimeEnv = "LLM_SPEED_TAB_TIME"

// typed is what stands on the command line that is to be completed.
type typed struct {
	ctx  context.Context // ends when the TAB's time does
	cmd  *cobra.Command
	args []string // before the word
	word string   // that is being typed
}

// offer is what a word may become.
type offer struct {
	values []cobra.Completion
	files  bool // a path will do too, where no value fits
	dirs   bool // likewise, of a folder
	open   bool // more is to be typed after a value: no space
}

// source gives the values that a word stands for. It never fails: what can't be read offers nothing.
type source func(typed) offer

// sources are the words that stand for values; nil is one that only the user knows.
func (a *app) sources() map[string]source {
	file := func(typed) offer { return offer{files: true} }
	either := func(t typed) offer { o := a.tabRuns(t); o.files = true; return o }
	return map[string]source{
		"FILE": file, "BUNDLE": file, "PATH": file,
		"DIR": func(typed) offer { return offer{dirs: true} },
		"RUN": a.tabRuns, "RUN|FILE": either, "FILE|RUN": either, "A": either, "B": either, "C": either,
		"ROW": a.tabRowsOfRun, "METRIC": a.tabMetrics, "ROW/PASS/STREAM": a.tabStreams, "ID,...": listOf(a.tabCharts),
		"SUITE": a.tabSuites, "NAME|DIR": a.tabSuites, "DIR|NAME": a.tabSuites, "NAME@VERSION": a.tabInstalled, "ROW,...": listOf(a.tabRowsOfSuite),
		"BACKEND": a.tabBackends, "MODEL": a.tabModels, "NAME=VALUE": a.tabOptions,
		"PROFILE": func(typed) offer { return offer{values: profileValues()} }, "DIALECT": tabDialects, "TRAP,...": listOf(tabTraps),
		"WORKLOAD": a.tabSavedWorkloads, "TEXT": a.tabSavedModels, "WHEN": tabAges, "LIMIT": a.tabLimits,
		"URL": nil, "KEY": nil, "N": nil, "N,...": nil, "SEED": nil, "TIME": nil, "WHO": nil, "DAY": nil, "CHANNEL": nil, "ADDRESS": nil,
	}
}

// choices lists the values that --format takes.
func choices(cmd *cobra.Command, values []string) {
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the tests ask for it
}

// completions gives every argument and flag of the commands below root its source.
func (a *app) completions(root *cobra.Command) {
	sources := a.sources()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 {
			words, more := argumentWords(cmd)
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
				n := len(args)
				if more {
					n = min(n, len(words)-1)
				}
				if n >= len(words) {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return a.tab(sources[words[n]], cmd, args, word)
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if _, has := cmd.GetFlagCompletionFunc(f.Name); has || f.Value.Type() == "bool" {
				return
			}
			word, _ := pflag.UnquoteUsage(f)
			_ = cmd.RegisterFlagCompletionFunc(f.Name, func(cmd *cobra.Command, args []string, typing string) ([]cobra.Completion, cobra.ShellCompDirective) {
				return a.tab(sources[word], cmd, args, typing)
			}) // fails only for a flag that has one
		})
		for _, c := range cmd.Commands() {
			if c.Name() != "help" && c.Name() != "completion" { // cobra's own, which know what they take
				walk(c)
			}
		}
	}
	walk(root)
}

// argumentWords are the words of a command's usage that stand for arguments; more: the last may be repeated.
func argumentWords(cmd *cobra.Command) (words []string, more bool) {
	for _, w := range strings.Fields(cmd.Use)[1:] {
		w = strings.Trim(w, "[]")
		if rest, ok := strings.CutSuffix(w, "..."); ok {
			w, more = rest, true
		}
		words = append(words, w)
	}
	return words, more
}

// tab asks a source, within the time of a TAB, and leaves of its answer what the word can become.
func (a *app) tab(from source, cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if from == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	limit := tabTime
	if d, err := time.ParseDuration(a.Env(tabTimeEnv)); err == nil && d > 0 {
		limit = d
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	o := from(typed{ctx, cmd, args, word})
	o.values = slices.DeleteFunc(slices.Clone(o.values), func(v cobra.Completion) bool { return !strings.HasPrefix(v, word) })
	switch {
	case len(o.values) > 0 && o.open:
		return o.values, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	case len(o.values) > 0:
		return o.values, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	case o.files:
		return nil, cobra.ShellCompDirectiveDefault
	case o.dirs:
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// soon runs a look that may take too long; false where it has not ended in time. What it does then goes on until the process
// ends, which is at once.
func soon[T any](ctx context.Context, look func() T) (T, bool) {
	done := make(chan T, 1)
	go func() { done <- look() }()
	select {
	case v := <-done:
		return v, true
	case <-ctx.Done():
		var none T
		return none, false
	}
}

// listOf completes the last of several values with commas between them; those that stand there already are not offered again.
func listOf(one source) source {
	return func(t typed) offer {
		at := strings.LastIndexByte(t.word, ',') + 1
		before := strings.Split(t.word[:at], ",")
		lead := t.word[:at]
		t.word = t.word[at:]
		o := one(t)
		o.open = true
		values := o.values
		o.values = nil
		for _, v := range values {
			if name, _, _ := strings.Cut(v, "\t"); !slices.Contains(before, name) {
				o.values = append(o.values, lead+v)
			}
		}
		return o
	}
}

// described is a value with what it means.
func described(value, text string) cobra.Completion {
	return cobra.CompletionWithDesc(value, strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text))
}
