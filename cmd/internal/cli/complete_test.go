package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/llm-speed/llm-speed/internal/store"
)

// Every value that is typed has a word that says how it completes: a new flag names one in its help between backquotes, a
// new argument in its command's Use; a word of its own goes into sources, with nil where only the user knows the value.
func TestEveryValueHasASource(t *testing.T) {
	a, root := quietRoot(t)
	sources := a.sources()
	used := map[string]bool{}
	eachCommand(root, func(cmd *cobra.Command) {
		if p := cmd.CommandPath(); strings.HasPrefix(p, "llm-speed completion") || strings.HasPrefix(p, "llm-speed help") {
			return // cobra's own
		}
		words, _ := argumentWords(cmd)
		for _, w := range words {
			if _, ok := sources[w]; !ok {
				t.Errorf("%s: nothing is known of its argument %s", cmd.CommandPath(), w)
			}
			used[w] = true
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			word, _ := pflag.UnquoteUsage(f)
			used[word] = true
			if f.Value.Type() == "bool" || word == "FORMAT" {
				return
			}
			if _, ok := sources[word]; !ok {
				t.Errorf("%s --%s: nothing is known of its value %q", cmd.CommandPath(), f.Name, word)
			}
		})
		if f := cmd.LocalFlags().Lookup("format"); f != nil {
			complete, _ := cmd.GetFlagCompletionFunc("format")
			if values, _ := complete(cmd, nil, ""); len(values) < 2 {
				t.Errorf("%s --format completes to %v: give it its choices", cmd.CommandPath(), values)
			}
		}
	})
	for word := range sources {
		if !used[word] {
			t.Errorf("no flag and no argument is called %s", word)
		}
	}
}

// tabbed is what a TAB offers at the end of a command line, without descriptions, and the directive.
func tabbed(t *testing.T, env map[string]string, words ...string) (values []string, directive, errs string) {
	t.Helper()
	var out, stderr bytes.Buffer
	p := OS()
	p.Args, p.Stdout, p.Stderr, p.OutTTY, p.ErrTTY = append([]string{"__completeNoDesc"}, words...), &out, &stderr, false, false
	p.Env = func(name string) string { return env[name] }
	p.Home = func() string { return env["HOME"] }
	if code := Main(p); code != 0 {
		t.Fatalf("%v: exit %d: %s", words, code, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1], stderr.String()
}

// A store of many runs, of which none can be read in time, offers their days; a few are offered as they are. Nothing that is
// wrong with a store is told to the shell.
func TestTabOfManyRuns(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"LLM_SPEED_DATA": dir, "HOME": dir, tabTimeEnv: "5s"}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		id := store.NewRunID(at.Add(time.Duration(i)*time.Hour), uint32(i))
		if err := os.MkdirAll(filepath.Join(dir, "runs", id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "runs", id, "result.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	values, directive, errs := tabbed(t, env, "runs", "show", "")
	if len(values) != 3+fewRuns || values[0] != "last" || !strings.HasPrefix(values[3], "20261109-07") || directive != ":36" {
		t.Errorf("unasked: %d values, %v, %s", len(values), values, directive)
	}
	if strings.Contains(errs, "damaged") {
		t.Errorf("the shell was told: %s", errs)
	}
	values, directive, _ = tabbed(t, env, "runs", "show", "2026")
	if len(values) != 9 || values[0] != "20261109" || directive != ":38" {
		t.Errorf("days: %v, %s", values, directive)
	}
	values, _, _ = tabbed(t, env, "runs", "show", "20261103")
	if len(values) != 24 {
		t.Errorf("a day: %d runs", len(values))
	}
	first := values[0]
	values, _, _ = tabbed(t, env, "runs", "rm", first, "20261103")
	if len(values) != 23 || slices.Contains(values, first) {
		t.Errorf("a run that stands there already: %d offered", len(values))
	}
	values, _, _ = tabbed(t, env, "runs", "show", "last~5")
	if len(values) != 11 || values[0] != "last~5" {
		t.Errorf("last~5: %v", values)
	}
	for _, words := range [][]string{{"explain", "last", ""}, {"report", "last", "--chart", ""}, {"report", "last", "--stream", ""}, {"compare", "last", "--fail-if", ""}} {
		if values, directive, errs := tabbed(t, env, words...); len(values) != 0 || !slices.Contains([]string{":4", ":6"}, directive) || strings.Contains(errs, "amaged") {
			t.Errorf("%v of a damaged run: %v, %s, %s", words, values, directive, errs)
		}
	}
}

// What takes too long is not waited for.
func TestTabEnds(t *testing.T) {
	dir := t.TempDir()
	id := store.NewRunID(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), 7)
	pipe := filepath.Join(dir, "runs", id, "result.json")
	if err := os.MkdirAll(filepath.Dir(pipe), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := blockingFile(pipe); err != nil {
		t.Skipf("no file that blocks its reader: %v", err)
	}
	env := map[string]string{"LLM_SPEED_DATA": dir, "HOME": dir, tabTimeEnv: "30ms"}
	done := make(chan string, 1)
	go func() {
		values, _, _ := tabbed(t, env, "runs", "show", "")
		rows, _, _ := tabbed(t, env, "explain", "last", "")
		done <- fmt.Sprint(values, rows)
	}()
	select {
	case got := <-done:
		if want := fmt.Sprint([]string{"last", id}, []string{}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	case <-time.After(time.Minute):
		t.Error("a TAB hangs at a file that blocks")
	}
}

// A folder for runs that is none, or that nobody may read, offers nothing and says nothing.
func TestTabWithoutAStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range []map[string]string{{"LLM_SPEED_DATA": file}, {"LLM_SPEED_DATA": filepath.Join(file, "below")}, {}} {
		values, directive, errs := tabbed(t, env, "runs", "rm", "")
		if len(values) != 0 || directive != ":4" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %v, %s, %q", env, values, directive, errs)
		}
	}
}

// bash puts a backslash before a comma, which the script takes away again; else no list would ever complete.
func TestBashScript(t *testing.T) {
	_, root := quietRoot(t)
	var b bytes.Buffer
	if err := bashScript(&b, root, true); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, `printf "%q`) && !strings.Contains(line, "printf -v comp") && !strings.Contains(line, `s/\\,/,/g`) {
			t.Errorf("a value is quoted with its commas: %s", line)
		}
	}
	if !strings.Contains(b.String(), `comp=${comp//\\,/,}`) {
		t.Error("what was typed is held against a value with its commas quoted")
	}
}

func TestOnThisMachine(t *testing.T) {
	for text, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "localhost:1234/v1": true, "http://[::1]:80": true, "127.0.0.1": true,
		"https://api.example.com/v1": false, "http://192.0.2.1": false, "http://localhost.example.com": false, "http://%zz": false, "": false,
	} {
		if got := onThisMachine(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
