package page

import (
	_ "embed"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/compare"
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
