package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

func (h *htmlPage) workload(w *Workload) {
	i := slices.IndexFunc(h.Workloads, func(x Workload) bool { return x.ID == w.ID && x.Name == w.Name })
	h.open("section", "id", anchor(i))
	h.element("h2", strings.TrimSpace(w.ID+" "+w.Name))
	for _, n := range w.Notes {
		h.element("p", n, "class", "foot")
	}
	for n := range w.Rows {
		if row := &w.Rows[n]; row.Status != string(record.OK) {
			h.open("p", "class", "gone")
			h.key(row.Run)
			h.text(strings.TrimSpace(row.Point+" ") + " " + row.Status + ": " + row.Reason)
			h.close("p")
		}
	}
	if len(w.Charts) > 0 {
		h.open("div", "class", "charts")
		for n := range w.Charts {
			h.chart(&w.Charts[n])
		}
		h.close("div")
	}
	if h.Comparison != nil {
		h.changes(w)
	}
	for n := range w.Rows {
		if w.Rows[n].Status == string(record.OK) {
			h.row(&w.Rows[n])
		}
	}
	h.close("section")
}

func (h *htmlPage) chart(c *chart.Chart) {
	h.open("figure")
	h.element("figcaption", c.Title)
	h.raw(chart.SVG(c))
	if c.Note != "" {
		h.element("p", c.Note, "class", "foot")
	}
	h.open("details")
	h.element("summary", "the data")
	heads, lines := c.Table()
	h.scroll("data of: " + c.Title)
	h.open("table", "class", "data")
	h.element("caption", "The data of: "+c.Title, "class", "unseen")
	h.open("thead")
	h.open("tr")
	for _, head := range heads {
		h.element("th", head, "scope", "col")
	}
	h.close("tr", "thead")
	h.open("tbody")
	for _, line := range lines {
		h.open("tr")
		for _, cell := range line {
			h.element("td", cell)
		}
		h.close("tr")
	}
	h.close("tbody", "table", "div", "details", "figure")
}

// row has all figures of a row, behind its name.
func (h *htmlPage) row(row *Row) {
	h.open("details", "class", "row")
	h.open("summary")
	h.key(row.Run)
	h.text("all figures of " + row.Key)
	h.close("summary")
	about := []string{report.Count(row.Passes, "pass") + ", " + report.Count(row.Requests, "timed request")}
	about = append(about, row.Counted...)
	if row.Rankable {
		about = append(about, "may be ranked")
	} else {
		about = append(about, "not ranked")
	}
	h.element("p", strings.Join(about, " · "), "class", "foot")
	h.scroll("all figures of " + row.Key)
	h.open("table", "class", "figures")
	h.element("caption", "All figures of "+row.Key, "class", "unseen")
	h.open("thead")
	h.open("tr")
	for _, head := range []string{"figure", "value", "95 % interval", "field"} {
		h.element("th", head, "scope", "col")
	}
	h.close("tr", "thead")
	h.open("tbody")
	for _, f := range row.Figures {
		h.open("tr")
		h.element("th", f.Title, "scope", "row")
		h.open("td")
		switch {
		case f.Reason != "":
			h.element("span", "not known: "+f.Reason, "class", "why")
		default:
			h.value(f.Value, f.Text)
			if f.N > 0 {
				h.element("small", " of "+strconv.Itoa(f.N))
			}
			if f.Estimated != "" {
				h.element("span", " "+f.Estimated, "class", "why")
			}
		}
		h.close("td")
		h.open("td")
		if f.Low != nil && f.High != nil {
			h.value(f.Low, report.UnitText(*f.Low, f.Unit))
			h.text(" to ")
			h.value(f.High, report.UnitText(*f.High, f.Unit))
		}
		h.close("td")
		h.open("td")
		h.element("code", f.Name)
		h.close("td", "tr")
	}
	h.close("tbody", "table", "div", "details")
}

// changes lines up the figures of a workload's rows in all runs, as internal/compare judges them.
func (h *htmlPage) changes(w *Workload) {
	for _, row := range h.Comparison.Rows {
		if !slices.ContainsFunc(w.Rows, func(x Row) bool { return x.Key == row.Key }) {
			continue
		}
		if len(row.Refused) > 0 {
			h.open("p", "class", "foot")
			h.text(row.Key + " is not compared: " + strings.Join(row.Refused, "; "))
			h.close("p")
			continue
		}
		caption := "What changed in " + row.Key
		h.scroll(caption)
		h.open("table", "class", "changes")
		h.open("caption")
		h.text(caption + ", against A")
		if len(row.Forced) > 0 {
			h.text(" (not measured alike: " + strings.Join(row.Forced, "; ") + ")")
		}
		h.close("caption")
		h.open("thead")
		h.open("tr")
		h.element("th", "figure", "scope", "col")
		for i := range h.Comparison.Runs {
			h.open("th", "scope", "col")
			h.key(i)
			h.close("th")
			if i > 0 {
				h.element("th", "change", "scope", "col")
			}
		}
		h.close("tr", "thead")
		h.open("tbody")
		for _, m := range row.Metrics {
			title, unit := h.named(w, row.Key, m.Name)
			h.open("tr")
			h.element("th", title, "scope", "row")
			for i, f := range m.Figures {
				h.open("td")
				if f.Value == nil {
					h.element("span", "not known: "+f.Reason, "class", "why")
				} else {
					h.value(f.Value, report.UnitText(*f.Value, unit))
				}
				h.close("td")
				if i > 0 {
					change, p := changeText(m.Changes[i-1])
					h.open("td")
					h.text(strings.ReplaceAll(change, " ", "\u00a0")) // on one line
					if p != "" {
						h.text(" ")
						h.element("small", strings.ReplaceAll(p, " ", "\u00a0"))
					}
					h.close("td")
				}
			}
			h.close("tr")
		}
		h.close("tbody", "table", "div")
	}
	if slices.ContainsFunc(h.Comparison.Rows, func(r compare.Row) bool { return len(r.Refused) == 0 }) {
		h.element("p", "~: no difference that the passes show (Mann–Whitney U test, two-sided, p ≥ 0.05). ?: too few passes to show any (four of each are enough), or no value by pass.", "class", "foot")
	}
}

// named finds what a figure is called in the rows of a workload.
func (h *htmlPage) named(w *Workload, key, name string) (title, unit string) {
	for i := range w.Rows {
		for _, f := range w.Rows[i].Figures {
			if w.Rows[i].Key == key && f.Name == name {
				return f.Title, f.Unit
			}
		}
	}
	return name, ""
}

// changeText is a change in percent, and how sure it is where it is one.
func changeText(c compare.Change) (change, p string) {
	change = "–"
	if c.Percent != nil {
		change = fmt.Sprintf("%+.1f %%", *c.Percent)
		if math.Abs(*c.Percent) < 0.05 { // neither +0.0 nor -0.0
			change = "0.0 %"
		}
	}
	switch c.Verdict {
	case compare.Differs:
		if c.P != nil {
			return change, fmt.Sprintf("(p %.3f)", *c.P)
		}
	case compare.Same:
		return "~", ""
	case compare.Null:
		return "–", ""
	case compare.TooFew, compare.Untold:
		return change + " ?", ""
	}
	return change, ""
}
