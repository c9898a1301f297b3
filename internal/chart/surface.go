package chart

import (
	"math"
	"strings"
	"unicode"
)

// pt is a place on a picture, in pixels of a picture at its own size; y grows downwards.
type pt struct{ x, y float64 }

// paint names a colour; each surface knows it by itself, so that one drawing serves light and dark.
type paint int

// The paints beside those of the series, which are 0 … Styles-1.
const (
	ink    paint = Styles + iota // text that is read first
	muted                        // text beside it
	grid                         // lines that carry the eye
	ground                       // behind all
	alarm                        // what must not be overlooked
)

// write says how a text stands.
type write struct {
	size   float64
	bold   bool
	anchor float64 // 0: begins at its place, 0.5: is centred on it, 1: ends there
	paint  paint
}

// surface is what is drawn on: SVG or an image of pixels.
type surface interface {
	line(points []pt, p paint, width float64, dash []float64)
	area(points []pt, p paint, opacity float64)
	text(at pt, s string, w write)
}

// dashes of the styles: each series has its own beside its colour.
func dashes() [Styles][]float64 {
	return [Styles][]float64{nil, {7, 3}, {2, 2.5}, {8, 3, 2, 3}, {12, 3}, {4, 2, 1, 2}}
}

// shape is the marker of a style around a place.
func shape(style int, at pt, r float64) []pt {
	var corners []pt
	switch style {
	case 0: // a disc
		for i := range 12 {
			a := float64(i) * math.Pi / 6
			corners = append(corners, pt{math.Cos(a), math.Sin(a)})
		}
	case 1: // a square
		corners = []pt{{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}}
	case 2: // a triangle
		corners = []pt{{0, -1.15}, {1.1, 0.85}, {-1.1, 0.85}}
	case 3: // a diamond
		corners = []pt{{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}}
	case 4: // a triangle on its head
		corners = []pt{{0, 1.15}, {-1.1, -0.85}, {1.1, -0.85}}
	default: // a cross
		corners = []pt{{-0.4, -1.2}, {0.4, -1.2}, {0.4, -0.4}, {1.2, -0.4}, {1.2, 0.4}, {0.4, 0.4}, {0.4, 1.2}, {-0.4, 1.2}, {-0.4, 0.4}, {-1.2, 0.4}, {-1.2, -0.4}, {-0.4, -0.4}}
	}
	for i, c := range corners {
		corners[i] = pt{at.x + r*c.x, at.y + r*c.y}
	}
	return corners
}

// width is about how wide a text of a size is in a wide font: the page's font is not known here.
func width(s string, size float64) float64 {
	var em float64
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijlI.,:;'|!()[]·", r):
			em += 0.31
		case r == ' ' || r == 'f' || r == 't' || r == 'r' || r == '/' || r == '-':
			em += 0.38
		case strings.ContainsRune("mwMW@%", r):
			em += 0.90
		case unicode.IsUpper(r):
			em += 0.72
		case unicode.IsDigit(r):
			em += 0.64
		case r >= 0x1100:
			em += 1.05
		default:
			em += 0.61
		}
	}
	return em * size
}

// clip cuts a text to a width.
func clip(s string, size, most float64) string {
	if width(s, size) <= most {
		return s
	}
	var b strings.Builder
	used := width("…", size)
	for _, r := range s {
		if used += width(string(r), size); used > most {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimRight(b.String(), " ·,") + "…"
}

// wrapped breaks a text at spaces into lines of a width.
func wrapped(s string, size, most float64) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case width(line+" "+word, size) <= most:
			line += " " + word
		default:
			lines, line = append(lines, clip(line, size, most)), word
		}
	}
	if line != "" {
		lines = append(lines, clip(line, size, most))
	}
	return lines
}

// printable takes out of a text what is no character to be seen: controls, marks that turn the direction of writing, and
// bytes that are no UTF-8.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r), r == 0xfffe, r == 0xffff:
			return -1
		}
		return r
	}, s)
}
