package page

import (
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// banners are flags that the notices say already.
func banner(name string) bool { return name == "simulated" || name == "quick" }

// glance is the table of the figures that every row has a place for.
func (h *htmlPage) glance() {
	h.open("section", "id", "glance")
	h.element("h2", "At a glance")
	common := h.common()
	if len(common) > 0 {
		h.open("p", "class", "foot")
		h.text("All rows:")
		h.tags(common, nil)
		h.close("p")
	}
	h.open("table", "class", "glance", "role", "table")
	h.element("caption", "Medians over passes, ± half the 95 % interval")
	h.open("thead", "role", "rowgroup")
	h.open("tr", "role", "row")
	h.element("th", "workload", "scope", "col", "role", "columnheader")
	for _, f := range h.heads() {
		h.element("th", headOf(f), "scope", "col", "role", "columnheader")
	}
	h.element("th", "passes", "scope", "col", "role", "columnheader")
	h.close("tr", "thead")
	h.open("tbody", "role", "rowgroup")
	notes := &footnotes{}
	estimated := []string{}
	for wi := range h.Workloads {
		w := &h.Workloads[wi]
		for i := range w.Rows {
			row := &w.Rows[i]
			led := "alone"
			if len(row.details) > 0 {
				led = "led"
			}
			h.open("tr", "role", "row", "class", led)
			h.open("th", "scope", "row", "role", "rowheader")
			h.key(row.Run)
			name := strings.TrimSpace(w.ID + " " + w.Name)
			if i > 0 { // said above
				name = w.ID
			}
			h.element("a", name, "href", "#"+anchor(wi))
			if row.Point != "" {
				h.element("span", " "+row.Point, "class", "point")
			}
			h.tags(row.Flags, common)
			h.close("th")
			if row.Status != string(record.OK) {
				h.open("td", "class", "gone", "colspan", strconv.Itoa(len(h.heads())+1), "role", "cell")
				h.text(row.Status + ": " + row.Reason)
				h.close("td", "tr")
				continue
			}
			for _, f := range row.Headline {
				h.open("td", "role", "cell", "data-head", headOf(f))
				h.figure(bare(f), notes)
				if f.Estimated != "" && !slices.Contains(estimated, f.Estimated) {
					estimated = append(estimated, f.Estimated)
				}
				h.close("td")
			}
			h.element("td", strconv.Itoa(row.Passes), "role", "cell", "data-head", "passes")
			h.close("tr")
			h.details(row.details, notes)
		}
	}
	h.close("tbody", "table")
	for _, e := range estimated {
		h.element("p", "≈ "+e+".", "class", "foot")
	}
	h.notes(notes)
	h.close("section")
}

// details are the figures of a row that have no column, below it.
func (h *htmlPage) details(figures []report.Figure, notes *footnotes) {
	if len(figures) == 0 {
		return
	}
	h.open("tr", "role", "row", "class", "more")
	h.open("td", "colspan", strconv.Itoa(len(report.Columns())+2), "role", "cell")
	for i, f := range figures {
		if i > 0 {
			h.text(" · ")
		}
		h.open("span")
		h.text(f.Title + " ")
		h.figure(f, notes)
		h.close("span")
	}
	h.close("td", "tr")
}

// headOf is the head of a figure's column, with the unit that all its cells have; times have units of their own.
func headOf(f report.Figure) string {
	if f.Unit != "ms" && f.Unit != "" {
		return f.Title + ", " + f.Unit
	}
	return f.Title
}

// bare is a figure without its unit where the head of its column has it.
func bare(f report.Figure) report.Figure {
	if f.Unit != "ms" && f.Unit != "" {
		f.Text = strings.TrimSpace(strings.TrimSuffix(f.Text, f.Unit))
	}
	return f
}

// footnotes are reasons, each once.
type footnotes struct{ reasons []string }

func (n *footnotes) number(reason string) int {
	at := slices.Index(n.reasons, reason)
	if at < 0 {
		at, n.reasons = len(n.reasons), append(n.reasons, reason)
	}
	return at + 1
}

// figure is a value with its spread, or a dash with the number of the note that says why.
func (h *htmlPage) figure(f report.Figure, notes *footnotes) {
	if f.Value == nil && f.Reason != "" {
		h.text("–")
		h.element("sup", strconv.Itoa(notes.number(f.Reason)))
		return
	}
	h.value(f.Value, f.Text)
	if f.Spread != "" {
		h.text(" ")
		h.element("small", "±"+f.Spread)
	}
}

func (h *htmlPage) notes(n *footnotes) {
	for i, reason := range n.reasons {
		h.open("p", "class", "foot")
		h.element("sup", strconv.Itoa(i+1))
		h.text(" not known: " + reason)
		h.close("p")
	}
}

// common are the flags that every row with figures has, where there are several.
func (h *htmlPage) common() []string {
	var flags []string
	rows := 0
	for _, w := range h.Workloads {
		for _, row := range w.Rows {
			if row.Status != string(record.OK) {
				continue
			}
			if rows++; rows == 1 {
				flags = slices.Clone(row.Flags)
			}
			flags = slices.DeleteFunc(flags, func(name string) bool { return banner(name) || !slices.Contains(row.Flags, name) })
		}
	}
	if rows < 2 {
		return nil
	}
	return flags
}

// tags names the flags of a row, but those that the page says at its top.
func (h *htmlPage) tags(flags, but []string) {
	for _, name := range flags {
		if !banner(name) && !slices.Contains(but, name) {
			h.text(" ")
			h.element("a", name, "class", "tag", "href", "#flags")
		}
	}
}
