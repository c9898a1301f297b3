package builtins

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

// Spec describes a builtin. Specs is the only way in which builtins come to be, and documents are made from it.
type Spec struct {
	Name   string  // prompt, or w.record for a method of w
	Params []Param //
	Doc    string  // one or two sentences
	Gives  []Attr  // attributes of what it returns, or of w itself
	Live   bool    // may be called inside run(w) only
	call   func(*call) (starlark.Value, error)
}

// Param is a parameter of a builtin. None stands for an argument that is left out, where it is not required.
type Param struct {
	Name       string
	Type       string
	Default    string // as written in Starlark; empty where Required
	Doc        string
	Required   bool
	Positional bool // may be given without its name
}

// Attr is an attribute of a value.
type Attr struct{ Name, Type, Doc string }

// global reports whether programs call it by its bare name.
func (s Spec) global() bool { return s.call != nil && !strings.Contains(s.Name, ".") }

// Signature is how the builtin is called.
func (s Spec) Signature() string {
	if s.call == nil {
		return s.Name
	}
	var parts []string
	named := false
	for _, p := range s.Params {
		if !p.Positional && !named {
			parts, named = append(parts, "*"), true
		}
		if p.Required {
			parts = append(parts, p.Name)
		} else {
			parts = append(parts, p.Name+" = "+p.Default)
		}
	}
	return s.Name + "(" + strings.Join(parts, ", ") + ")"
}

// Docs is the reference of all builtins, in Markdown.
func Docs() string {
	var b strings.Builder
	for _, s := range Specs() {
		fmt.Fprintf(&b, "### `%s`\n\n%s\n\n", s.Signature(), s.Doc)
		if s.Live {
			b.WriteString("Inside `run(w)` only.\n\n")
		}
		if len(s.Params) > 0 {
			b.WriteString("| argument | type | default | meaning |\n|---|---|---|---|\n")
			for _, p := range s.Params {
				def := "required"
				if !p.Required {
					def = "`" + p.Default + "`"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Name, p.Type, def, p.Doc)
			}
			b.WriteString("\n")
		}
		if len(s.Gives) > 0 {
			b.WriteString("| attribute | type | meaning |\n|---|---|---|\n")
			for _, a := range s.Gives {
				fmt.Fprintf(&b, "| `.%s` | %s | %s |\n", a.Name, a.Type, a.Doc)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// Specs lists the builtins: the global ones, their methods behind them, and w.
func Specs() []Spec {
	return []Spec{
		promptSpec(), extendSpec(), sharedSpec(), freshSpec(),
		streamSpec(),
		timerSpec(), elapsedSpec(),
		cacheStatsSpec(),
		fingerprintSpec(),
		wSpec(), recordSpec(), skipSpec(),
	}
}
