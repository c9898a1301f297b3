// Package report renders a result document for people: the table at the end of a run, and the explanation of one row.
//
// It is pure: it writes to the writer that it is given and knows neither terminal, engine nor files. It computes no
// metric; what it shows is in the document. Workloads, points and metrics are data to it: one that this binary has never
// seen is shown because the suite declares it.
package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style says how text is shown.
type Style struct {
	Color bool // ANSI colours
	Width int  // columns; 0: 80
}

// width is the number of columns to use.
func (s Style) width() int {
	if s.Width <= 0 {
		return 80
	}
	return max(s.Width, 40)
}

// The colours, as ANSI attributes.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	yellow = "33"
	cyan   = "36"
)

// paint wraps text in a colour where colours are on.
func (s Style) paint(color, text string) string {
	if !s.Color || color == plain || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// page collects lines; the first write error is kept and ends the writing.
type page struct {
	w     io.Writer
	style Style
	err   error
}

func (p *page) line(color, format string, args ...any) {
	if p.err != nil {
		return
	}
	p.painted(p.style.paint(color, strings.TrimRight(printable(fmt.Sprintf(format, args...)), " ")))
}

// painted writes a line that has its colours already; what is in it of a document has to be printable.
func (p *page) painted(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, text+"\n")
	}
}

// printable is a text of a document without what would move a terminal's cursor, end a line, or turn the direction of writing.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// wrapped writes text broken at spaces to the page's width: the first line after lead, the others below its end.
func (p *page) wrapped(color, lead, text string) {
	p.packed(color, lead, strings.Fields(text), " ")
}

// packed is wrapped for parts that are not broken themselves.
func (p *page) packed(color, lead string, parts []string, sep string) {
	indent := strings.Repeat(" ", runes(lead))
	for i, part := range pack(parts, sep, p.style.width()-runes(lead)) {
		if i > 0 {
			lead = indent
		}
		p.line(color, "%s%s", lead, part)
	}
}

// pack joins parts with sep into lines of at most width columns; a longer part has a line of its own.
func pack(parts []string, sep string, width int) []string {
	var lines []string
	var line string
	for i, part := range parts {
		switch {
		case i == 0:
			line = part
		case runes(line)+runes(sep)+runes(part) <= width:
			line += sep + part
		default:
			lines, line = append(lines, line), part
		}
	}
	return append(lines, line)
}

// runes is the number of columns of text that has no wide or combining characters, which is all that is aligned here.
func runes(text string) int { return utf8.RuneCountInString(text) }

func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-runes(text))) + text
}

func padRight(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-runes(text)))
}
