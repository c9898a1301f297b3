package suite

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-jsonnet/ast"
	"github.com/google/go-jsonnet/formatter"
)

// locator finds the source of values of an evaluated suite. What is computed has no place of its own: the nearest
// expression around it is given.
type locator struct {
	files  files
	parsed map[string]ast.Node
}

func newLocator(all files) *locator { return &locator{all, map[string]ast.Node{}} }

// step is one part of a path: a field or an index.
var step = regexp.MustCompile(`[^.\[\]]+|\[\d+\]`)

// label is what a path says about an element for people: "workloads[0] (W1)".
var label = regexp.MustCompile(` \([^)]*\)`)

// find gives the place of a value by its path.
func (l *locator) find(where string) (file string, line, col int) {
	file = Main
	at := &place{l: l, file: Main, node: l.parse(Main)}
	if at.node == nil {
		return file, 0, 0
	}
	best := *at
	for _, s := range step.FindAllString(label.ReplaceAllString(where, ""), -1) {
		if !at.into(s) {
			break
		}
		best = *at
	}
	if r := best.node.Loc(); r != nil && r.Begin.Line > 0 {
		return best.file, r.Begin.Line, r.Begin.Column
	}
	return file, 0, 0
}

// parse gives a file's syntax tree; nil where it has none.
func (l *locator) parse(name string) ast.Node {
	if n, ok := l.parsed[name]; ok {
		return n
	}
	n, _, err := formatter.SnippetToRawAST(name, string(l.files[name]))
	if err != nil || path.Ext(name) == ".txt" {
		n = nil
	}
	l.parsed[name] = n
	return n
}

// place is an expression in a file.
type place struct {
	l    *locator
	file string
	node ast.Node
}

// into moves to a part of the value that the expression stands for; false where the source does not show it.
func (p *place) into(s string) bool {
	for range maxNesting {
		switch n := p.node.(type) {
		case *ast.Local:
			p.node = n.Body
		case *ast.Parens:
			p.node = n.Inner
		case *ast.Import:
			name := path.Join(path.Dir(p.file), n.File.Value)
			inner := p.l.parse(name)
			if inner == nil {
				return false
			}
			p.file, p.node = name, inner
		case *ast.ApplyBrace:
			return p.either(s, n.Right, n.Left)
		case *ast.Binary:
			return n.Op == ast.BopPlus && p.either(s, n.Right, n.Left)
		case *ast.Object:
			for _, f := range n.Fields {
				if fieldOf(f) == s {
					p.node = f.Expr2
					return true
				}
			}
			return false
		case *ast.Array:
			i, err := strconv.Atoi(strings.Trim(s, "[]"))
			if err != nil || i < 0 || i >= len(n.Elements) {
				return false
			}
			p.node = n.Elements[i].Expr
			return true
		case *ast.ArrayComp:
			p.node = n.Body
			return true
		default:
			return false
		}
	}
	return false
}

// either tries the parts of an object that is put together, the one that wins first.
func (p *place) either(s string, nodes ...ast.Node) bool {
	for _, n := range nodes {
		try := place{p.l, p.file, n}
		if try.into(s) {
			*p = try
			return true
		}
	}
	return false
}

func fieldOf(f ast.ObjectField) string {
	if f.Id != nil {
		return string(*f.Id)
	}
	if s, ok := f.Expr1.(*ast.LiteralString); ok {
		return s.Value
	}
	return ""
}
