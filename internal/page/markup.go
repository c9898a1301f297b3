package page

import (
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
)

// markup writes HTML that is well-formed XML too. Text and attributes can't become markup: raw takes what this package and
// package chart made, and nothing else. It stands in for html/template, which calls methods by name and so keeps every method
// of every type in the program: 5 MB.
type markup struct{ b strings.Builder }

// open begins an element; attributes come as name, value, name, value.
func (m *markup) open(tag string, attributes ...string) {
	m.b.WriteString("<" + tag)
	m.attributes(attributes)
	m.b.WriteString(">")
}

func (m *markup) attributes(attributes []string) {
	for i := 0; i+1 < len(attributes); i += 2 {
		m.b.WriteString(" " + attributes[i] + `="` + chart.Escape(attributes[i+1]) + `"`)
	}
}

// void writes an element that has no content.
func (m *markup) void(tag string, attributes ...string) {
	m.b.WriteString("<" + tag)
	m.attributes(attributes)
	m.b.WriteString("/>")
}

func (m *markup) close(tags ...string) {
	for _, tag := range tags {
		m.b.WriteString("</" + tag + ">")
		switch tag {
		case "p", "li", "tr", "table", "section", "figure", "div", "dl", "dd", "ul", "ol", "details", "header", "footer", "main", "head", "h1", "h2", "h3":
			m.b.WriteByte('\n')
		}
	}
}

func (m *markup) text(s string) { m.b.WriteString(chart.Escape(s)) }

// element is an element with text.
func (m *markup) element(tag, text string, attributes ...string) {
	m.open(tag, attributes...)
	m.text(text)
	m.close(tag)
}

func (m *markup) raw(s string) { m.b.WriteString(s) }

// value is a figure with the exact value beside what is read.
func (m *markup) value(exact *float64, text string) {
	if exact == nil {
		m.text(text)
		return
	}
	m.element("data", text, "value", strconv.FormatFloat(*exact, 'g', -1, 64))
}
