package cli

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// grid is a table of text with aligned columns. Columns that hold nothing are left out. Where the terminal is too narrow,
// columns go to a line of their own below each row, one after another; the texts of one column lose their middle.
type grid struct {
	heads []string
	rows  [][]string
	right map[int]bool   // columns of numbers
	give  []int          // columns that give way, the first one first
	named map[int]string // what stands before a value that gave way
	cut   int            // the column whose texts are cut
	width int            // of the terminal; 0: as wide as it takes
}

const (
	gap      = "  " // between columns
	wellCut  = 30   // how long texts that are cut stay while other columns can give way
	leastCut = 12   // and at the least
)

func (g grid) write(a *app) {
	below := 0
	widths, full := g.measure(nil)
	for g.width > 0 && full-max(0, widths[g.cut]-wellCut) > g.width && below < len(g.give) {
		below++
		widths, full = g.measure(g.give[:below])
	}
	if below == 0 && g.width > 0 && full > g.width && len(g.give) > 0 { // rather whole names than one line
		below = 1
		widths, full = g.measure(g.give[:below])
	}
	if over := full - g.width; g.width > 0 && over > 0 {
		widths[g.cut] = max(leastCut, widths[g.cut]-over)
	}
	a.outf("%s\n", g.line(g.heads, widths))
	for _, row := range g.rows {
		a.outf("%s\n", g.line(row, widths))
		var rest []string
		for _, i := range slices.Backward(g.give[:below]) {
			if row[i] != "" {
				rest = append(rest, g.named[i]+row[i])
			}
		}
		if len(rest) > 0 {
			a.outf("    %s\n", strings.Join(rest, gap))
		}
	}
}

// measure gives the width of each column, 0 for those that are left out, and of the whole.
func (g grid) measure(without []int) (widths []int, full int) {
	widths = make([]int, len(g.heads))
	for i := range g.heads {
		if slices.Contains(without, i) || !slices.ContainsFunc(g.rows, func(r []string) bool { return r[i] != "" }) {
			continue
		}
		widths[i] = utf8.RuneCountInString(g.heads[i])
		for _, r := range g.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
		full += widths[i] + len(gap)
	}
	return widths, full - len(gap)
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
	return strings.TrimRight(strings.Join(parts, gap), " ")
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
