package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// quietRoot is the command line of a process that says nothing.
func quietRoot(t *testing.T) (*app, *cobra.Command) {
	t.Helper()
	p := OS()
	p.Args, p.Stdout, p.Stderr, p.OutTTY, p.ErrTTY = nil, io.Discard, io.Discard, false, false
	a := &app{p}
	return a, a.root()
}

// eachCommand visits every command that help shows.
func eachCommand(root *cobra.Command, visit func(*cobra.Command)) {
	root.InitDefaultHelpFlag()
	visit(root)
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			eachCommand(c, visit)
		}
	}
}

// Every command says what it is for and shows how it is called; every flag says what it does.
func TestEverythingHasHelp(t *testing.T) {
	_, root := quietRoot(t)
	n := 0
	eachCommand(root, func(cmd *cobra.Command) {
		n++
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", cmd.CommandPath(), cmd.Short)
		}
		if !cmd.HasExample() {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" && !f.Hidden {
				t.Errorf("%s --%s has no help", cmd.CommandPath(), f.Name)
			}
		})
	})
	if n < 30 {
		t.Errorf("only %d commands were looked at", n)
	}
}

// Every flag of bench stands under a heading that says what it is about: put a new one under one of those in bench.go.
func TestHeadingsOfBench(t *testing.T) {
	_, root := quietRoot(t)
	cmd, _, err := root.Find([]string{"bench"})
	if err != nil {
		t.Fatal(err)
	}
	groups := flagGroups(cmd.LocalFlags())
	if len(groups) < 5 {
		t.Errorf("%d headings, want 5 or more", len(groups))
	}
	for _, g := range groups {
		for _, f := range g.flags {
			if g.title == otherFlags && f.Name != "help" {
				t.Errorf("bench --%s is under no heading", f.Name)
			}
		}
	}
}

// No line of help is wider than the screen, but for examples, which are there to be copied.
func TestHelpFits(t *testing.T) {
	for _, width := range []int{60, 80, 200} {
		var out bytes.Buffer
		p := OS()
		p.Stdout, p.OutTTY, p.Width = &out, true, func() int { return width }
		a := &app{p}
		eachCommand(a.root(), func(cmd *cobra.Command) {
			out.Reset()
			a.help(cmd, nil)
			text := out.String()
			if cmd.HasExample() {
				text = strings.Replace(text, cmd.Example, "", 1)
			}
			for line := range strings.Lines(text) {
				if columns(strings.TrimRight(line, "\n")) > width && len(strings.Fields(line)) > 3 {
					t.Errorf("%s --help at %d columns: %q", cmd.CommandPath(), width, line)
				}
			}
		})
	}
}

func TestReflowed(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"paragraphs", "one two\nthree\n\nfour", "one two\nthree\n\nfour\n"},
		{"paragraph runs on", "a b\nc d", "a b c d\n"},
		{"list hangs", "  ab  one two three", "  ab  one\n      two\n      three\n"},
		{"plain indented line", "  one two three", "  one two\n    three\n"},
		{"a line that fits to the column", "  ab  one tw", "  ab  one tw\n"},
		{"a word that is too long", "aaaaaaaaaaaaaaaa b", "aaaaaaaaaaaaaaaa\nb\n"},
		{"wide characters", "  ab  漢字 漢字", "  ab  漢字\n      漢字\n"},
	} {
		if got := reflowed(c.text, 12); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// shellWords splits a line as a shell does, up to the end of its first command; ok is false where a quote is not closed.
func shellWords(line string) (words []string, ok bool) {
	var word strings.Builder
	in, begun := rune(0), false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case in != 0 && r == in:
			in = 0
		case in != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			in, begun = r, true
		case r == ' ' || r == '\t':
			end()
		case strings.ContainsRune("|&;<>()", r), r == '#' && !begun:
			end()
			return words, true
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	end()
	return words, in == 0
}

// parses reports what is wrong with a command line of this program.
func parses(root *cobra.Command, words []string, whole bool) error {
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if whole {
		return cmd.ValidateArgs(cmd.Flags().Args())
	}
	return nil
}

// What help shows as an example can be called so: command, flags, number of arguments, and the names of backends.
func TestExamplesParse(t *testing.T) {
	_, root := quietRoot(t)
	reg, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	eachCommand(root, func(of *cobra.Command) {
		for line := range strings.Lines(of.Example) {
			_, line, ours := strings.Cut(line, "llm-speed ")
			if !ours || strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			n++
			words, ok := shellWords(strings.TrimSpace(line))
			_, fresh := quietRoot(t)
			if err := parses(fresh, words, true); err != nil || !ok {
				t.Errorf("%s: example %q: %v", of.CommandPath(), line, err)
			}
			for i, w := range words {
				if w == "--backend" && !slices.Contains(reg.Names(), words[i+1]) {
					t.Errorf("%s: example %q: no backend has that name", of.CommandPath(), line)
				}
			}
		}
	})
	if n < 40 {
		t.Errorf("only %d examples were tried", n)
	}
}

var (
	fence    = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```")
	indented = regexp.MustCompile(`(?m)^    (llm-speed .*)$`)
	span     = regexp.MustCompile("`([^`\n]+)`")
)

// Commands and flags that the documents name exist.
func TestDocumentsNameRealFlags(t *testing.T) {
	repo := filepath.Join("..", "..", "..")
	files, err := filepath.Glob(filepath.Join(repo, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, root := quietRoot(t)
	known := map[string]bool{}
	eachCommand(root, func(cmd *cobra.Command) { known[strings.TrimPrefix(cmd.CommandPath(), "llm-speed ")] = true })
	n := 0
	check := func(file, text string, ours bool) {
		if _, rest, ok := strings.Cut(text, "llm-speed "); ok && (strings.HasPrefix(text, "llm-speed ") || strings.Contains(text, " llm-speed ")) {
			text = rest
		} else if !ours {
			return
		}
		words, _ := shellWords(strings.NewReplacer("[", "", "]", "", "…", "", "...", "").Replace(text))
		if len(words) == 0 || !known[words[0]] {
			return
		}
		n++
		_, fresh := quietRoot(t)
		if err := parses(fresh, words, false); err != nil && (strings.Contains(err.Error(), "unknown")) {
			t.Errorf("%s: %q: %v", filepath.Base(file), text, err)
		}
	}
	for _, file := range append(files, filepath.Join(repo, "README.md"), filepath.Join(repo, "CHANGELOG.md")) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
			for line := range strings.Lines(m[1]) {
				check(file, strings.TrimSpace(strings.ReplaceAll(line, "go run ./cmd/llm-speed", "llm-speed")), false)
			}
		}
		for _, m := range indented.FindAllStringSubmatch(string(b), -1) {
			check(file, m[1], false)
		}
		for _, m := range span.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			check(file, m[1], strings.Contains(m[1], " --"))
		}
	}
	if n < 60 {
		t.Errorf("only %d command lines were found", n)
	}
}

// A manual page is plain ASCII, has its sections, and no line that man(7) would take for something else.
func TestManPages(t *testing.T) {
	_, root := quietRoot(t)
	pages := manPages(root, edition{"llm-speed v1.2.3", "2026-11-23"})
	dir := t.TempDir()
	var files []string
	for _, p := range pages {
		for _, section := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXIT STATUS\n", ".SH SEE ALSO\n"} {
			if strings.Count(p.text, section) != 1 {
				t.Errorf("%s: %q stands %d times", p.name, section, strings.Count(p.text, section))
			}
		}
		for line := range strings.Lines(p.text) {
			if strings.HasPrefix(line, "'") || strings.TrimSpace(line) == "" && !strings.Contains(p.text, ".nf") || strings.IndexFunc(line, func(r rune) bool { return r >= 0x80 }) >= 0 {
				t.Errorf("%s: line %q", p.name, line)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, p.name), []byte(p.text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(dir, p.name))
	}
	if len(pages) < 30 || pages[0].name != "llm-speed.1" {
		t.Errorf("%d pages, the first is %s", len(pages), pages[0].name)
	}
	if !strings.Contains(pages[0].text, `.TH "LLM\-SPEED" "1" "2026-11-23" "llm\-speed v1.2.3"`) {
		t.Errorf("head of the page: %.120s", pages[0].text)
	}
	if path, err := exec.LookPath("mandoc"); err == nil { // the page's own rules are above; this one knows all of them
		if out, err := exec.Command(path, append([]string{"-Tlint", "-Wwarning"}, files...)...).CombinedOutput(); err != nil {
			t.Errorf("mandoc: %v\n%s", err, out)
		}
	}
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		"":               "",
		".TH x":          `\&.TH x`,
		"'s":             `\(aqs`,
		`a\b "c" - ~ d…`: `a\eb \(dqc\(dq \- \(ti d\[u2026]`,
		"a\n.b":          "a .b",
	} {
		if got := roff(in); got != want {
			t.Errorf("roff(%q) = %q, want %q", in, got, want)
		}
	}
}
