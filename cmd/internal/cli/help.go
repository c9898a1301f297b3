package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The help is written by functions and by no template: with one, the linker would have to keep every method of every package.

// widestHelp is how many columns help takes at most, and plainHelp how many where no terminal says how many it has.
const (
	widestHelp = 100
	plainHelp  = 80
)

func (a *app) helpWidth() int {
	if a.OutTTY && a.Width != nil && a.Width() > 0 {
		return min(max(a.Width(), leastFold), widestHelp)
	}
	return plainHelp
}

// help writes what a command is for, how it is called, and how it ends.
func (a *app) help(cmd *cobra.Command, _ []string) {
	cmd.InitDefaultHelpFlag()
	text := reflowed(orElse(cmd.Long, cmd.Short), a.helpWidth())
	if text != "" {
		text += "\n"
	}
	if cmd.Runnable() || cmd.HasSubCommands() {
		text += usage(cmd, a.helpWidth())
	}
	_, _ = fmt.Fprint(cmd.OutOrStdout(), text+"\n"+reflowed(exitHelp, a.helpWidth()))
}

// usage is how a command is called: its lines, examples, commands and flags.
func usage(cmd *cobra.Command, width int) string {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() && !cmd.HasAvailableSubCommands() || cmd.HasAvailableLocalFlags() && cmd.HasParent() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, g := range commandGroups(cmd) {
		fmt.Fprintf(&b, "\n%s:\n", g.title)
		for _, c := range g.commands {
			b.WriteString(reflowed(fmt.Sprintf("  %-*s  %s", cmd.Commands()[0].NamePadding(), c.Name(), c.Short), width))
		}
	}
	for _, g := range flagGroups(cmd.LocalFlags()) {
		fmt.Fprintf(&b, "\n%s:\n%s", g.title, g.usages(width))
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n" + reflowed(cmd.CommandPath()+" COMMAND --help says more about a command.", width))
	}
	return b.String()
}

// headed is the annotation of a flag that says under which heading of the help it stands.
const headed = "llm-speed/heading"

// heading puts flags of a command under a heading of its help. Headings stand in the order of their first flags; flags that
// were put under none come last.
func heading(fl *pflag.FlagSet, title string, names ...string) {
	for _, name := range names {
		_ = fl.SetAnnotation(name, headed, []string{title}) // the tests name a flag of bench that is under no heading
	}
}

// otherFlags is the heading of flags that were put under none, where others were.
const otherFlags = "Other flags"

// flagGroup is a heading of the help with its flags.
type flagGroup struct {
	title string
	flags []*pflag.Flag
	wide  int // columns that names and values of all groups of the command take
}

// flagGroups sorts the flags of a command under their headings.
func flagGroups(fl *pflag.FlagSet) []flagGroup {
	var groups []flagGroup
	rest := flagGroup{title: "Flags"}
	wide := 0
	fl.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		wide = max(wide, columns(flagName(f)))
		title := f.Annotations[headed]
		if len(title) == 0 {
			rest.flags = append(rest.flags, f)
			return
		}
		i := slices.IndexFunc(groups, func(g flagGroup) bool { return g.title == title[0] })
		if i < 0 {
			i, groups = len(groups), append(groups, flagGroup{title: title[0]})
		}
		groups[i].flags = append(groups[i].flags, f)
	})
	if len(groups) > 0 {
		rest.title = otherFlags
	}
	if len(rest.flags) > 0 {
		groups = append(groups, rest)
	}
	for i := range groups {
		groups[i].wide = wide
	}
	return groups
}

// flagName is a flag as it is typed, with the word for its value.
func flagName(f *pflag.Flag) string {
	name := "    --" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", --" + f.Name
	}
	if value, _ := pflag.UnquoteUsage(f); value != "" {
		name += " " + value
	}
	return name
}

// flagText is what a flag does, and what holds without it.
func flagText(f *pflag.Flag) string {
	_, text := pflag.UnquoteUsage(f)
	switch f.DefValue {
	case "", "0", "0s", "false", "[]":
		return text
	}
	if strings.HasPrefix(f.Value.Type(), "string") {
		return fmt.Sprintf("%s (default %q)", text, f.DefValue)
	}
	return fmt.Sprintf("%s (default %s)", text, strings.Trim(f.DefValue, "[]"))
}

// usages are the lines of the group's flags.
func (g flagGroup) usages(width int) string {
	var b strings.Builder
	for _, f := range g.flags {
		b.WriteString(reflowed(fmt.Sprintf("  %-*s  %s", g.wide, flagName(f), flagText(f)), width))
	}
	return b.String()
}

// commandGroup is a heading of the help with its commands.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

// sections puts the commands below root under headings.
func sections(root *cobra.Command) {
	for _, s := range []struct {
		title string
		names []string
	}{
		{"Measure", []string{"bench", "detect", "list-models", "calibrate", "sim"}},
		{"Look at results", []string{"runs", "explain", "compare", "report"}},
		{"Share results", []string{"seal", "verify", "upload"}},
		{"Suites", []string{"suite", "self-update", "manifest"}},
	} {
		for _, cmd := range root.Commands() {
			if slices.Contains(s.names, cmd.Name()) {
				if !root.ContainsGroup(s.title) {
					root.AddGroup(&cobra.Group{ID: s.title, Title: s.title})
				}
				cmd.GroupID = s.title
			}
		}
	}
}

// commandGroups sorts the commands below one under their headings, those without one last.
func commandGroups(cmd *cobra.Command) []commandGroup {
	var groups []commandGroup
	for _, g := range cmd.Groups() {
		groups = append(groups, commandGroup{title: g.Title})
	}
	rest := commandGroup{title: "Commands"}
	if len(groups) > 0 {
		rest.title = "Other commands"
	}
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() && c.Name() != "help" {
			continue
		}
		if i := slices.IndexFunc(groups, func(g commandGroup) bool { return g.title == c.GroupID }); i >= 0 {
			groups[i].commands = append(groups[i].commands, c)
		} else {
			rest.commands = append(rest.commands, c)
		}
	}
	groups = append(groups, rest)
	return slices.DeleteFunc(groups, func(g commandGroup) bool { return len(g.commands) == 0 })
}

// entry is a line of a list: a name, two columns of space or more, and what it means.
var entry = regexp.MustCompile(`^( *\S+(?: \S+)*  +)\S`)

// reflowed sets a text into lines of at most width columns. Lines that are not indented run on into paragraphs; those that
// are stay lines, and what does not fit goes on below where their text begins. It ends in a line break where it is not empty.
func reflowed(text string, width int) string {
	var b strings.Builder
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			for _, line := range folded(strings.Join(paragraph, " "), width) {
				b.WriteString(line + "\n")
			}
		}
		paragraph = nil
	}
	for line := range strings.Lines(strings.TrimRight(text, " \t\r\n")) {
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			paragraph = append(paragraph, line)
			continue
		}
		flush()
		lead := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		hang := strings.Repeat(" ", len(lead)+2)
		if m := entry.FindStringSubmatch(line); m != nil && columns(m[1]) <= width/2 {
			lead, hang = m[1], strings.Repeat(" ", columns(m[1]))
		}
		for i, part := range folded(line[len(lead):], width-len(hang)) {
			if i > 0 {
				lead = hang
			}
			b.WriteString(strings.TrimRight(lead+part, " ") + "\n")
		}
	}
	flush()
	return b.String()
}

// folded breaks a text at its spaces into lines of at most width columns; a word that is longer has a line of its own.
func folded(text string, width int) []string {
	var lines []string
	for columns(text) > width {
		cut := strings.LastIndexByte(clip(text, width+2), ' ') // the mark of the cut, and the space itself
		if cut <= 0 {
			if cut = strings.IndexByte(text, ' '); cut < 0 {
				break
			}
		}
		lines, text = append(lines, strings.TrimRight(text[:cut], " ")), strings.TrimLeft(text[cut:], " ")
	}
	return append(lines, text)
}
