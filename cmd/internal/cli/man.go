package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into a folder",
		Long: `Write the manual pages, one a command, into a folder: what --help says, for man(1). The folder is made where
it is not there; pages of before are replaced. docs/shell.md says where man looks for them.`,
		Example: `  llm-speed man ~/.local/share/man/man1
  man llm-speed-bench`,
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pages are for everybody
				return fail(exitUsage, "", fmt.Errorf("the folder can't be made: %w", err))
			}
			pages := manPages(cmd.Root(), a.edition())
			for _, p := range pages {
				if err := os.WriteFile(filepath.Join(dir, p.name), []byte(p.text), 0o644); err != nil { //nolint:gosec // as above
					return fail(exitFailed, "", fmt.Errorf("write the pages: %w", err))
				}
			}
			a.outf("%s: %d pages, llm-speed.1 and those of the commands\n", dir, len(pages))
			return nil
		},
	}
}

// edition is what stands at the foot of a page: the program's version, and the day that it was made of.
type edition struct{ version, day string }

func (a *app) edition() edition {
	e := edition{version: "llm-speed " + a.client().Version}
	if info, ok := a.Build(); ok {
		for _, s := range info.Settings {
			if at, err := time.Parse(time.RFC3339, s.Value); err == nil && s.Key == "vcs.time" {
				e.day = at.UTC().Format(time.DateOnly)
			}
		}
	}
	return e
}

// manPage is a page with its file's name.
type manPage struct{ name, text string }

// manPages writes a page for a command and for each that is shown below it, in man(7).
func manPages(cmd *cobra.Command, e edition) []manPage {
	cmd.InitDefaultHelpFlag()
	pages := []manPage{{manName(cmd) + ".1", manText(cmd, e)}}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			pages = append(pages, manPages(c, e)...)
		}
	}
	return pages
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func manText(cmd *cobra.Command, e edition) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	item := func(term, text string) { put(".TP\n%s\n%s", term, roff(text)) }
	put(`.TH "%s" "1" "%s" "%s" "llm-speed manual"`, roff(strings.ToUpper(manName(cmd))), e.day, roff(e.version))
	put(".nh\n.ad l\n.SH NAME\n%s \\- %s", roff(manName(cmd)), roff(lowered(cmd.Short)))
	put(".SH SYNOPSIS")
	use := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		if cmd.HasParent() && cmd.HasAvailableLocalFlags() {
			put(".B %s\n%s\n.br", roff(cmd.CommandPath()), roff(strings.TrimSpace(strings.TrimPrefix(use, cmd.CommandPath()))))
		}
		use = cmd.CommandPath() + " COMMAND"
	}
	put(".B %s\n%s", roff(cmd.CommandPath()), roff(strings.TrimSpace(strings.TrimPrefix(use, cmd.CommandPath()))))
	put(".SH DESCRIPTION\n%s", manBody(orElse(cmd.Long, cmd.Short+".")))
	for i, g := range commandGroups(cmd) {
		if i == 0 {
			put(".SH COMMANDS")
		}
		if len(cmd.Groups()) > 0 {
			put(".SS %s", roff(g.title))
		}
		for _, c := range g.commands {
			item("\\fB"+roff(c.Name())+"\\fR", c.Short)
		}
	}
	groups := flagGroups(cmd.LocalFlags())
	for i, g := range groups {
		if i == 0 {
			put(".SH OPTIONS")
		}
		if len(groups) > 1 {
			put(".SS %s", roff(g.title))
		}
		for _, f := range g.flags {
			name, value, _ := strings.Cut(strings.TrimSpace(flagName(f)), "--"+f.Name)
			term := "\\fB" + roff(name+"--"+f.Name) + "\\fR"
			if value != "" {
				term += " \\fI" + roff(strings.TrimSpace(value)) + "\\fR"
			}
			item(term, flagText(f))
		}
	}
	if cmd.HasExample() {
		put(".SH EXAMPLES\n.nf")
		for line := range strings.Lines(cmd.Example) {
			put("%s", roff(strings.TrimPrefix(strings.TrimRight(line, "\r\n"), "  ")))
		}
		put(".fi")
	}
	put(".SH EXIT STATUS")
	_, codes, _ := strings.Cut(exitHelp, "\n")
	put("%s", manBody(codes))
	if !cmd.HasParent() {
		put(".SH ENVIRONMENT")
		for _, v := range environment() {
			item("\\fB"+roff(v[0])+"\\fR", v[1])
		}
		put(".SH FILES")
		item("\\fI~/.local/share/llm\\-speed\\fR", "saved runs, installed suites and this installation's key; macOS: ~/Library/Application Support/llm-speed, Windows: %LocalAppData%\\llm-speed")
	}
	put(".SH SEE ALSO")
	var also []string
	if cmd.HasParent() {
		also = append(also, "\\fB"+roff(manName(cmd.Parent()))+"\\fR(1)")
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			also = append(also, "\\fB"+roff(manName(c))+"\\fR(1)")
		}
	}
	put("%s", strings.Join(also, ",\n"))
	return b.String()
}

// environment lists the variables that commands read; a backend's own are in docs/backends.md.
func environment() [][2]string {
	return [][2]string{
		{"LLM_SPEED_API_KEY", "key of the server of --url; services have variables of their own, which llm-speed detect names"},
		{"LLM_SPEED_DATA", "folder for runs and suites, in the place of the usual one"},
		{"XDG_DATA_HOME, XDG_CACHE_HOME", "as the XDG base directory specification has them; not on Windows"},
		{"NO_COLOR", "not empty: no colours"},
		{tabTimeEnv, "how long a TAB may look for values, as 2s (default " + tabTime.String() + ")"},
	}
}

// manBody sets a help text: paragraphs, lists, and lines that stay as they are.
func manBody(text string) string {
	var b strings.Builder
	verbatim := false
	end := func() {
		if verbatim {
			b.WriteString(".fi\n")
		}
		verbatim = false
	}
	var before string // what stands in front of the line: nothing, text, or a list
	for line := range strings.Lines(strings.Trim(text, "\r\n")) {
		line = strings.TrimRight(line, " \t\r\n")
		m := entry.FindStringSubmatch(line)
		switch {
		case line == "":
			end()
			before = "gap"
			continue
		case line[0] != ' ':
			end()
			if before == "gap" || before == "list" {
				b.WriteString(".PP\n")
			}
			b.WriteString(roff(line) + "\n")
			before = "text"
			continue
		case m != nil:
			end()
			b.WriteString(".TP\n\\fB" + roff(strings.TrimSpace(m[1])) + "\\fR\n" + roff(line[len(m[1]):]) + "\n")
		default:
			if !verbatim {
				b.WriteString(".PP\n.nf\n")
			}
			verbatim = true
			b.WriteString(roff(line) + "\n")
		}
		before = "list"
	}
	end()
	return strings.TrimRight(b.String(), "\n")
}

// roff writes a text so that it means itself, in ASCII: man(7) reads backslashes, dots and quotes at the beginning of a line,
// and shows some plain characters as others.
func roff(text string) string {
	var b strings.Builder
	if text != "" && text[0] == '.' {
		b.WriteString(`\&`)
	}
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteByte(' ')
		case r >= 0x80:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			if is := map[rune]string{'\\': `\e`, '-': `\-`, '"': `\(dq`, '\'': `\(aq`, '~': `\(ti`, '^': `\(ha`, '`': `\(ga`}[r]; is != "" {
				b.WriteString(is)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// lowered begins a text with a small letter, as the name line of a page has it, but for a word that is not of words' spelling.
func lowered(text string) string {
	if len(text) < 2 || text[1] < 'a' || text[1] > 'z' {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}
