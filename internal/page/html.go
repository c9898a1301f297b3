package page

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/compare"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

//go:embed page.css
var styleSheet string

// policy is what a browser may load for the page: nothing.
const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

// HTML writes the report as one file that loads nothing and needs no script.
func (r *Report) HTML(w io.Writer) error {
	h := &htmlPage{Report: r}
	h.raw("<!DOCTYPE html>\n")
	h.open("html", "lang", "en", "xmlns", "http://www.w3.org/1999/xhtml")
	h.open("head")
	h.void("meta", "charset", "utf-8")
	h.void("meta", "http-equiv", "Content-Security-Policy", "content", policy)
	h.void("meta", "name", "viewport", "content", "width=device-width, initial-scale=1")
	h.void("meta", "name", "color-scheme", "content", "light dark")
	h.void("meta", "name", "referrer", "content", "no-referrer")
	h.element("title", r.Title+" · llm-speed")
	h.raw("\n<style>\n:root{color-scheme:light dark;" + chart.Variables(false) + "}\n@media (prefers-color-scheme:dark){:root{" + chart.Variables(true) + "}}\n@media print{:root{color-scheme:light;" + chart.Variables(false) + "}}\n" + chart.Style + styleSheet + "</style>\n")
	h.close("head")
	h.open("body")
	h.head()
	h.open("main", "id", "top")
	h.alike()
	h.about()
	h.glance()
	for i := range r.Workloads {
		h.workload(&r.Workloads[i])
	}
	h.flags()
	h.trust()
	h.close("main")
	h.foot()
	h.close("body", "html")
	h.raw("\n")
	_, err := io.WriteString(w, h.b.String())
	return err
}

// htmlPage is a report being written.
type htmlPage struct {
	markup
	*Report
}

// several reports whether there is more than one run.
func (h *htmlPage) several() bool { return len(h.Runs) > 1 }

// key shows how a run looks in charts, with its letter.
func (h *htmlPage) key(i int) {
	if h.several() {
		h.open("span", "class", "key key"+strconv.Itoa(i%chart.Styles))
		h.text(letter(i))
		h.close("span")
		h.text(" ")
	}
}

func (h *htmlPage) head() {
	h.open("header")
	h.element("p", "llm-speed report", "class", "kicker")
	h.element("h1", h.Title)
	for _, n := range h.Notices {
		h.open("p", "class", "notice", "role", "note")
		word, rest, ok := strings.Cut(n, ":")
		if ok {
			h.element("strong", word+":")
			n = rest
		}
		h.text(n)
		h.close("p")
	}
	h.open("nav", "aria-label", "parts of this page")
	link := func(to, text string) { h.element("a", text, "href", "#"+to); h.text(" ") }
	if h.several() {
		link("alike", "what differs")
	}
	link("runs", "what was measured")
	link("glance", "at a glance")
	for i := range h.Workloads {
		link(anchor(i), h.Workloads[i].ID+" "+h.Workloads[i].Name)
	}
	link("flags", "flags")
	link("trust", "how it was measured")
	h.close("nav", "header")
}

func anchor(i int) string { return "workload-" + strconv.Itoa(i+1) }

// alike says first what keeps runs from being comparable.
func (h *htmlPage) alike() {
	c := h.Comparison
	if c == nil {
		return
	}
	h.open("section", "id", "alike")
	h.element("h2", "What differs between the runs")
	list := func(ds []compare.Difference, caption string) {
		h.scroll(caption)
		h.open("table")
		h.element("caption", caption)
		h.open("thead")
		h.open("tr")
		h.element("th", "field", "scope", "col")
		for i := range c.Runs {
			h.open("th", "scope", "col")
			h.key(i)
			h.close("th")
		}
		h.close("tr", "thead")
		h.open("tbody")
		for _, d := range ds {
			h.open("tr")
			h.element("th", d.Field, "scope", "row")
			for _, v := range d.Values {
				h.element("td", v)
			}
			h.close("tr")
		}
		h.close("tbody", "table", "div")
	}
	if len(c.Differ) > 0 {
		h.open("p", "class", "notice", "role", "note")
		h.element("strong", "NOT MEASURED ALIKE:")
		forced := slices.ContainsFunc(c.Rows, func(r compare.Row) bool { return len(r.Forced) > 0 })
		if forced {
			h.text(" these must be equal and are not. The runs share pictures all the same, as was asked for.")
		} else {
			h.text(" these must be equal and are not. Each run has pictures of its own, and no change is given.")
		}
		h.close("p")
		list(c.Differ, "Must be equal, and is not")
		if len(c.Definitions) > 0 {
			h.element("p", "What llama-bench measures is something else: "+strings.Join(c.Definitions, "; ")+".")
		}
	} else {
		h.element("p", "Suite, mode, model and quantisation are the same in all of them.")
	}
	if len(c.Also) > 0 {
		list(c.Also, "Differs too")
	}
	if len(c.Missing) > 0 {
		h.element("p", "Not in every run: "+strings.Join(c.Missing, ", ")+".")
	}
	h.close("section")
}

// scroll begins a box that a wide table moves sideways in, by keys too.
func (h *htmlPage) scroll(label string) {
	h.open("div", "class", "scroll", "role", "region", "aria-label", label, "tabindex", "0")
}

func (h *htmlPage) about() {
	h.open("section", "id", "runs")
	h.element("h2", "What was measured")
	h.eachRun(func(a About) {
		h.facts(a.Facts)
	})
	h.close("section")
}

// eachRun writes a box for each run, under its mark and id where there are several.
func (h *htmlPage) eachRun(what func(About)) {
	h.open("div", "class", "runs")
	for i, a := range h.Runs {
		h.open("div", "class", "run")
		if h.several() {
			h.open("h3")
			h.key(i)
			h.text(a.ID)
			h.close("h3")
		}
		what(a)
		h.close("div")
	}
	h.close("div")
}

func (h *htmlPage) facts(facts []report.Fact) {
	h.open("dl")
	for _, f := range facts {
		h.element("dt", f.Name)
		h.element("dd", f.Text)
	}
	h.close("dl")
}

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

// raised says where a flag was raised; all rows of a run are not listed one by one.
func (h *htmlPage) raised(run int, f Flag) []string {
	rows, with := 0, 0
	for _, w := range h.Workloads {
		for _, row := range w.Rows {
			if row.Run == run {
				rows++
				if slices.Contains(f.Rows, row.Key) {
					with++
				}
			}
		}
	}
	switch {
	case rows < 3 || with < rows:
		return f.Rows
	case slices.Contains(f.Rows, "run"):
		return []string{"run", "all rows"}
	}
	return []string{"all rows"}
}

func (h *htmlPage) flags() {
	h.open("section", "id", "flags")
	h.element("h2", "Flags")
	h.element("p", "A flag says what was odd. It deletes nothing; most of them keep a row from being ranked.", "class", "foot")
	for i, a := range h.Runs {
		if h.several() {
			h.open("h3")
			h.key(i)
			h.text(a.ID)
			h.close("h3")
		}
		if len(a.Flags) == 0 {
			h.element("p", "None.")
		} else {
			h.open("dl", "class", "flags")
			for _, f := range a.Flags {
				h.open("dt")
				h.element("code", f.Name)
				h.text(" " + strings.Join(h.raised(i, f), ", "))
				h.close("dt")
				h.open("dd")
				h.text(upper(f.Text) + ".")
				for _, e := range f.Evidence {
					h.void("br")
					h.element("span", "Seen: "+e, "class", "why")
				}
				h.close("dd")
			}
			h.close("dl")
		}
		if len(a.Notes) > 0 {
			h.open("ul", "class", "foot")
			for _, n := range a.Notes {
				h.element("li", n)
			}
			h.close("ul")
		}
	}
	h.close("section")
}

func (h *htmlPage) trust() {
	h.open("section", "id", "trust")
	h.element("h2", "How it was measured, and what proves it")
	h.eachRun(func(a About) {
		h.facts(a.Trust)
		h.open("details")
		h.element("summary", "how exact this client was: its calibration receipt")
		h.facts(a.Calibration)
		h.close("details")
		if a.Machine != "" {
			h.open("details")
			h.element("summary", "the machine, as it was before the run")
			h.scroll("the machine")
			h.element("pre", a.Machine)
			h.close("div", "details")
		}
	})
	h.close("section")
}

func (h *htmlPage) foot() {
	h.open("footer")
	h.element("p", "Every figure is one of the result document; llm-speed explain RUN ROW says how it came about. This file loads nothing from anywhere.")
	h.close("footer")
}
