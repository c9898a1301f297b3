package suite

import (
	"fmt"
	"strings"
)

// ProblemError is something wrong in a suite, at its place.
type ProblemError struct {
	File      string
	Line, Col int    // from 1; 0 where the place is not known
	Where     string // path of the value in the evaluated document, "workloads[0] (W1).needs[1]"; may be empty
	Msg       string
}

// Error gives file:line:col, the value and what is wrong with it.
func (p *ProblemError) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
	}
	if p.Where != "" {
		b.WriteString(": " + p.Where)
	}
	return b.String() + ": " + p.Msg
}

// ProblemErrors is all that is wrong with a suite, in the order of the document's fields.
type ProblemErrors []*ProblemError

// Error gives a line each.
func (p ProblemErrors) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each problem.
func (p ProblemErrors) Unwrap() []error {
	errs := make([]error, len(p))
	for i, one := range p {
		errs[i] = one
	}
	return errs
}

func (p *ProblemErrors) add(where, format string, args ...any) {
	*p = append(*p, &ProblemError{File: Main, Where: where, Msg: fmt.Sprintf(format, args...)})
}

// orNil gives the problems as an error, each at its place in the suite's source; nil where there are none.
func (p ProblemErrors) orNil(all files) error {
	if len(p) == 0 {
		return nil
	}
	l := newLocator(all)
	for _, one := range p {
		one.File, one.Line, one.Col = l.find(one.Where)
	}
	return p
}
