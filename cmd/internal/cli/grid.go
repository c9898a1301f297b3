package cli

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// grid is a table of text with aligned columns. Columns that hold nothing are left out. Where the terminal is too narrow, the
// column that gives way goes to a line of its own below each row; after that, long texts of the column that is cut lose their
// middle.
type grid struct {
	heads []string
	rows  [][]string
	right map[int]bool // columns of numbers
	give  int          // the column that gives way
	cut   int          // the column whose texts are cut
	width int          // of the terminal; 0: as wide as it takes
}

const (
	between2 = "  " // between columns
	leastCut = 16   // what is left of a text that is cut, at the least
)

func (g grid) write(a *app) {
	widths, full := g.measure(-1)
	below := g.width > 0 && full > g.width
	if below {
		widths, full = g.measure(g.give)
	}
	if over := full - g.width; g.width > 0 && over > 0 {
		widths[g.cut] = max(leastCut, widths[g.cut]-over)
	}
	a.outf("%s\n", g.line(g.heads, widths))
	for _, row := range g.rows {
		a.outf("%s\n", g.line(row, widths))
		if below && row[g.give] != "" {
			a.outf("    %s\n", row[g.give])
		}
	}
}

// measure gives the width of each column, 0 for those that are left out, and of the whole.
func (g grid) measure(without int) (widths []int, full int) {
	widths = make([]int, len(g.heads))
	for i := range g.heads {
		if i == without || !slices.ContainsFunc(g.rows, func(r []string) bool { return r[i] != "" }) {
			continue
		}
		widths[i] = utf8.RuneCountInString(g.heads[i])
		for _, r := range g.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
		full += widths[i] + len(between2)
	}
	return widths, full - len(between2)
}

func (g grid) line(row []string, widths []int) string {
	var parts []string
	for i, w := range widths {
		if w == 0 {
			continue
		}
		text := middle(row[i], w)
		pad := strings.Repeat(" ", w-utf8.RuneCountInString(text))
		if g.right[i] {
			text = pad + text
		} else {
			text += pad
		}
		parts = append(parts, text)
	}
	return strings.TrimRight(strings.Join(parts, between2), " ")
}

// middle cuts the middle out of a text that is too long, so that both what a name begins with and its tag can be read.
func middle(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	head := (most - 1) * 2 / 3
	return string(r[:head]) + "…" + string(r[len(r)-(most-1-head):])
}
