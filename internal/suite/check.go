package suite

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/llm-speed/llm-speed/internal/record"
)

// metricStats are the statistics that a metric may declare.
var metricStats = []string{"p50", "p95", "p99", "min", "max", "mean", "sum", "last"}

// The forms of names, and the bounds on what a suite may ask for.
var (
	suiteName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)
	semver     = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)
	generator  = regexp.MustCompile(`^[a-z]+/[1-9]\d*$`)
	workloadID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,31}$`)
	fieldName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

const (
	wantsField = "wants a name of small letters, digits and _, beginning with a letter"

	maxWorkloads = 64
	maxPoints    = 64
	maxPasses    = 100
	maxContext   = 1 << 24
	maxParallel  = 4096
	maxTokens    = 1 << 30 // of a pass
	maxText      = 500     // bytes of a text for people
)

// check finds what the types don't say.
func (s *Suite) check(all files) error {
	var c ProblemErrors
	if s.Schema != Schema {
		c.add("schema", "is %q; this program knows %q", s.Schema, Schema)
	}
	if s.Engine != EngineVersion {
		c.add("engine", "is %d; this program knows %d: a newer suite wants a newer llm-speed", s.Engine, EngineVersion)
	}
	if !suiteName.MatchString(s.Name) {
		c.add("name", "is %q; wants small letters, digits, dots and dashes", s.Name)
	}
	if !semver.MatchString(s.Version) {
		c.add("version", "is %q; wants a semantic version like 1.0.0", s.Version)
	}
	if !generator.MatchString(s.Generator) {
		c.add("generator", "is %q; wants a name and a number like prose/1", s.Generator)
	}
	c.text("title", "title", s.Title)
	if s.Budget.DefaultS <= 0 || s.Budget.QuickS <= 0 {
		c.add("budget", "default_s is %v and quick_s %v; both want seconds above 0", s.Budget.DefaultS, s.Budget.QuickS)
	}
	if n := len(s.Workloads); n == 0 || n > maxWorkloads {
		c.add("workloads", "are %d; wants 1 to %d", n, maxWorkloads)
	}
	ids := map[string]bool{}
	for i := range s.Workloads {
		w := &s.Workloads[i]
		where := fmt.Sprintf("workloads[%d]", i)
		if !workloadID.MatchString(w.ID) {
			c.add(where+".id", "is %q; wants a letter, then letters, digits, _ and -", w.ID)
		} else {
			where += " (" + w.ID + ")"
		}
		if ids[strings.ToLower(w.ID)] {
			c.add(where, "another workload has this id; ids are unique, whatever their case")
		}
		ids[strings.ToLower(w.ID)] = true
		w.check(&c, where, all)
	}
	return c.orNil(all)
}

func (w *Workload) check(c *ProblemErrors, where string, all files) {
	if strings.TrimSpace(w.Name) == "" {
		c.add(where+".name", "is empty")
	}
	if strings.TrimSpace(w.Doc) == "" {
		c.add(where+".doc", "is empty; say in a sentence what is measured")
	}
	c.text(where+".name", "name", w.Name)
	c.text(where+".doc", "doc", w.Doc)
	switch _, exists := all[w.Program]; {
	case path.Ext(w.Program) != ".star" || !fs.ValidPath(w.Program):
		c.add(where+".program", "is %q; wants a path inside the suite that ends in .star", w.Program)
	case !exists:
		c.add(where+".program", "%s: no such file in the suite", w.Program)
	}
	keys := w.Shape.check(c, where, nil)
	if w.Quick != nil {
		quick, _ := w.ShapeFor(true)
		quick.Passes = w.Quick.Passes
		quick.check(c, where+".quick", keys)
	}
	for _, name := range sortedKeys(w.Metrics) {
		w.Metrics[name].check(c, where+".metrics."+name, name)
	}
	names := map[string]bool{}
	for i := range w.Relative {
		r := &w.Relative[i]
		at := fmt.Sprintf("%s.relative[%d]", where, i)
		r.check(c, at, w)
		if names[r.Name] {
			c.add(at, "another ratio has the name %q", r.Name)
		}
		names[r.Name] = true
	}
	if len(w.Reports) == 0 {
		c.add(where, "reports is empty; name the result fields and metrics to show")
	}
	for i, name := range w.Reports {
		at := fmt.Sprintf("%s.reports[%d]", where, i)
		_, declared := w.Metrics[name]
		if !declared && !names[name] && !isRowFigure(name) {
			c.add(at, "%q is no figure of a result, no metric and no ratio of this workload; figures: %s", name, strings.Join(rowFigures(), " "))
		}
		if slices.Contains(w.Reports[:i], name) {
			c.add(at, "%q is named twice", name)
		}
	}
}

// check looks at one shape and gives its points' keys; those wanted, where not nil, are of the full shape.
func (s *Shape) check(c *ProblemErrors, where string, wanted []string) []string {
	keys := wanted
	if len(s.Points) > maxPoints {
		c.add(where, "has %d points; %d at most", len(s.Points), maxPoints)
	}
	if len(s.Points) == 0 && len(wanted) > 0 {
		c.add(where+".points", "are none; each wants the keys %s", strings.Join(wanted, " "))
	}
	for i, p := range s.Points {
		at := fmt.Sprintf("%s.points[%d]", where, i)
		own := sortedKeys(p)
		switch {
		case len(own) == 0:
			c.add(at, "has no keys; leave points out where there is but one")
		case keys == nil:
			keys = own
		case !slices.Equal(own, keys):
			c.add(at, "has the keys %s; the others have %s", strings.Join(own, " "), orNone(keys))
		}
		for _, k := range own {
			if !fieldName.MatchString(k) {
				c.add(at, "key %q %s", k, wantsField)
			}
			switch v := p[k].(type) {
			case float64, bool:
			case string:
				c.text(at+"."+k, k, v)
			default:
				c.add(at, "%s wants a string, a number or a boolean", k)
			}
		}
		for j := range i {
			if scalars(p) && scalars(s.Points[j]) && maps.Equal(p, s.Points[j]) {
				c.add(at, "is the same as points[%d]", j)
			}
		}
	}
	if n, points := len(s.Needs), max(len(s.Points), 1); n != 1 && n != points {
		c.add(where, "needs has %d entries; wants one for all points or one for each of %d", n, points)
	}
	for i, n := range s.Needs {
		at := fmt.Sprintf("%s.needs[%d]", where, i)
		if n.Context <= 0 || n.Context > maxContext {
			c.add(at, "context is %d; wants tokens, 1 to %d", n.Context, maxContext)
		}
		if n.Parallel <= 0 || n.Parallel > maxParallel {
			c.add(at, "parallel is %d; wants streams, 1 to %d", n.Parallel, maxParallel)
		}
		if n.Prompt <= 0 || n.Output <= 0 || n.Prompt > maxTokens || n.Output > maxTokens {
			c.add(at, "prompt is %d and output %d; both want tokens a pass, 1 to %d", n.Prompt, n.Output, maxTokens)
		}
	}
	for _, k := range sortedKeys(s.Params) {
		if !fieldName.MatchString(k) {
			c.add(where+".params", "%q %s", k, wantsField)
		}
	}
	if s.Passes < 0 || s.Passes > maxPasses {
		c.add(where, "passes is %d; wants 1 to %d, or none for 1", s.Passes, maxPasses)
	}
	if keys == nil {
		keys = []string{} // a quick shape of a workload without points has none either
	}
	return keys
}

func (m MetricSpec) check(c *ProblemErrors, where, name string) {
	if !fieldName.MatchString(name) {
		c.add(where, "%s", wantsField)
	}
	if isRowFigure(name) {
		c.add(where, "a result has a figure of this name already; choose another")
	}
	if m.Unit == "" {
		c.add(where, "unit is empty; say ms, tok/s, tokens, %%, or what it counts")
	}
	c.text(where+".unit", "unit", m.Unit)
	if m.Better != "" && m.Better != "lower" && m.Better != "higher" {
		c.add(where, "better is %q; wants lower, higher or nothing", m.Better)
	}
	if len(m.Stats) == 0 {
		c.add(where, "stats is empty; wants some of %s", strings.Join(metricStats, " "))
	}
	for i, stat := range m.Stats {
		if !slices.Contains(metricStats, stat) {
			c.add(where, "stats has %q; wants some of %s", stat, strings.Join(metricStats, " "))
		}
		if slices.Contains(m.Stats[:i], stat) {
			c.add(where, "stats has %q twice", stat)
		}
	}
}

func (r *Relative) check(c *ProblemErrors, where string, w *Workload) {
	if !fieldName.MatchString(r.Name) {
		c.add(where, "name is %q; %s", r.Name, wantsField)
	}
	c.text(where+".title", "title", r.Title)
	if isRowFigure(r.Name) {
		c.add(where, "a result has a figure of the name %q already; choose another", r.Name)
	}
	if _, ok := w.Metrics[r.Name]; ok {
		c.add(where, "a metric has the name %q already", r.Name)
	}
	if !isRowFigure(r.Metric) {
		c.add(where, "metric is %q, which is no figure of a result; figures: %s", r.Metric, strings.Join(rowFigures(), " "))
	}
	if len(w.Points) < 2 {
		c.add(where, "wants a workload of two points or more")
	}
	if r.Base != nil && !scalars(r.Base) {
		c.add(where, "base wants plain values")
		return
	}
	for _, p := range w.Points {
		if !scalars(p) {
			return // said elsewhere
		}
	}
	if _, ok := r.BaseAmong(w.Points); !ok && len(w.Points) > 0 {
		base, _ := json.Marshal(r.Base)
		c.add(where+".base", "%s is none of the workload's points", base)
	}
}

// text refuses what a terminal would obey, and what is no title any more.
func (p *ProblemErrors) text(where, name, text string) {
	switch {
	case len(text) > maxText:
		p.add(where, "%s is longer than %d bytes", name, maxText)
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		p.add(where, "%s is %q; wants one line of plain text", name, text)
	}
}

// scalars tells whether a point can be compared.
func scalars(p map[string]any) bool {
	for _, v := range p {
		switch v.(type) {
		case string, float64, bool:
		default:
			return false
		}
	}
	return true
}

func orNone(keys []string) string {
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(keys, " ")
}

// rowFigures gives the JSON names of a result row's figures; a number tagged figure:"-" qualifies another and is none.
func rowFigures() []string {
	var names []string
	t := reflect.TypeFor[record.Row]()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type.Kind() != reflect.Pointer || f.Tag.Get("figure") == "-" {
			continue
		}
		if k := f.Type.Elem().Kind(); k != reflect.Float64 && k != reflect.Int {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

func isRowFigure(name string) bool { return slices.Contains(rowFigures(), name) }
