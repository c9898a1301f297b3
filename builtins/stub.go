package builtins

import (
	"fmt"
	"strings"
)

// Stub is a Python stub file of the builtins: Starlark's syntax is a part of Python's, so that editors complete and check
// programs by it.
func Stub() string {
	var b strings.Builder
	b.WriteString("\"\"\"Builtins of llm-speed's suite programs. Made by `llm-speed suite docs --stub`.\"\"\"\n\nfrom typing import Any, Optional, Sequence\n")
	specs := Specs()
	for _, s := range specs {
		if s.call != nil && strings.Contains(s.Name, ".") {
			continue // under its class
		}
		class := className(s)
		if len(s.Gives) > 0 {
			fmt.Fprintf(&b, "\nclass %s:\n", class)
			for _, g := range s.Gives {
				if g.Type == "method" {
					for _, m := range specs {
						if strings.HasSuffix(m.Name, "."+g.Name) && strings.HasPrefix(m.Name, s.Name+".") {
							writeDef(&b, m, "    ", "self, ")
						}
					}
					continue
				}
				fmt.Fprintf(&b, "    %s: %s\n    \"\"\"%s\"\"\"\n", g.Name, pyType(g.Type), g.Doc)
			}
		}
		if s.call != nil {
			b.WriteString("\n")
			writeDef(&b, s, "", "")
		}
	}
	return b.String()
}

// className names what a builtin gives.
func className(s Spec) string {
	name := strings.ReplaceAll(s.Name, "_", " ")
	var b strings.Builder
	for word := range strings.FieldsSeq(name) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func writeDef(b *strings.Builder, s Spec, indent, self string) {
	var params []string
	named := false
	for _, p := range s.Params {
		if !p.Positional && !named {
			params, named = append(params, "*"), true
		}
		text := p.Name + ": " + pyType(p.Type)
		switch {
		case !p.Required && p.Default == "None":
			text = p.Name + ": Optional[" + pyType(p.Type) + "] = None"
		case !p.Required:
			text += " = " + p.Default
		}
		params = append(params, text)
	}
	gives := "None"
	switch {
	case len(s.Gives) > 0:
		gives = className(s)
		if s.Name == "prompt.extend" {
			gives = "Prompt"
		}
	case s.Name == "shared" || s.Name == "fresh":
		gives = "Any"
	case s.Name == "timer.elapsed_ms":
		gives = "float"
	case s.Name == "cache_stats" || s.Name == "fingerprint":
		gives = "Any"
	}
	name := s.Name[strings.LastIndex(s.Name, ".")+1:]
	list := strings.TrimSuffix(self+strings.Join(params, ", "), ", ")
	fmt.Fprintf(b, "%sdef %s(%s) -> %s:\n%s    \"\"\"%s\"\"\"\n%s    ...\n", indent, name, list, gives, indent, s.Doc, indent)
}

// pyType is a type as Python writes it.
func pyType(t string) string {
	if of, ok := strings.CutSuffix(t, " or None"); ok {
		return "Optional[" + pyType(of) + "]"
	}
	switch t {
	case "int", "float", "bool":
		return t
	case "string":
		return "str"
	case "number":
		return "float"
	case "list":
		return "Sequence[Any]"
	case "tuple":
		return "tuple"
	case "prompt or list":
		return "Any"
	}
	return "Any"
}
