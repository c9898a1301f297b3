package page

import (
	"slices"
	"strings"
)

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
