// Package suite loads a benchmark suite: evaluates suite.jsonnet, checks it against the schema below, and digests its files.
//
// A suite says what is run; the programs say how to do one point once. Workload ids, point keys and metric names are data:
// nothing in Go may depend on one. The package runs no program and reads nothing outside the suite's own files.
package suite

import (
	"io/fs"
	"maps"
)

// Schema names the form of suite.jsonnet.
const Schema = "llm-speed/suite/v1"

// EngineVersion is the version of the engine's surface that a suite's `engine` asks for.
const EngineVersion = 1

// Suite is a loaded and checked suite.
type Suite struct {
	Schema    string     `json:"schema"`
	Name      string     `json:"name"`
	Version   string     `json:"version"` // semantic version
	Title     string     `json:"title"`   // for people
	Engine    int        `json:"engine"`
	Generator string     `json:"generator"` // of prompt text: "prose/1"
	Budget    Budget     `json:"budget"`
	Workloads []Workload `json:"workloads"`

	Digest string `json:"-"` // "sha256:…" over every file's path and content
	Files  fs.FS  `json:"-"` // the suite's own files
}

// Budget is the time that a run gives itself by default, everything included.
type Budget struct {
	DefaultS float64 `json:"default_s"`
	QuickS   float64 `json:"quick_s"`
}

// Workload is a set of points that one program runs.
type Workload struct {
	ID       string                `json:"id"`
	Name     string                `json:"name"`
	Doc      string                `json:"doc"` // one sentence for people: what is measured
	Program  string                `json:"program"`
	Shape                          // of a full run
	Quick    *Shape                `json:"quick"`    // of --quick; what it leaves out is as in a full run
	Reports  []string              `json:"reports"`  // result fields and declared metrics to show, in order
	Metrics  map[string]MetricSpec `json:"metrics"`  // what the program records with w.record
	Relative []Relative            `json:"relative"` // ratios to a base point
}

// Shape is the sizes of a workload.
type Shape struct {
	Points []map[string]any `json:"points"` // empty: one point without keys
	Needs  []Need           `json:"needs"`  // one a point, or one for all
	Params map[string]any   `json:"params"`
	Passes int              `json:"passes"` // first passes, which the budget never cuts; 0: one
}

// Need is what a point asks of the backend.
type Need struct {
	Context  int `json:"context"`  // tokens a stream, prompt and output together
	Parallel int `json:"parallel"` // streams at once
	Prompt   int `json:"prompt"`   // prompt tokens of a pass, all streams, that are not reused: for predictions, and for what a pass may take at most
	Output   int `json:"output"`   // output tokens of a pass, streams that run at once counted once: likewise
}

// MetricSpec declares a metric of a program.
type MetricSpec struct {
	Unit   string   `json:"unit"`
	Better string   `json:"better"` // "lower", "higher" or ""
	Stats  []string `json:"stats"`  // of p50 p95 p99 min max mean sum last
}

// Relative is the ratio of a result field at each point to the same field at the base point.
type Relative struct {
	Name   string         `json:"name"`   // decode_decay
	Metric string         `json:"metric"` // decode_tps
	Base   map[string]any `json:"base"`   // {context: 32768}; null: the first point of the shape that is run
	Title  string         `json:"title"`  // for people
}

// ShapeFor gives the sizes of a full or a quick run; ok is false where the workload has no quick shape.
func (w *Workload) ShapeFor(quick bool) (shape Shape, ok bool) {
	s := w.Shape
	if !quick {
		return s, true
	}
	if w.Quick == nil {
		return s, false
	}
	q := *w.Quick
	if q.Points != nil {
		s.Points, s.Needs = q.Points, q.Needs
	} else if q.Needs != nil {
		s.Needs = q.Needs
	}
	if q.Params != nil {
		merged := map[string]any{}
		for k, v := range s.Params {
			merged[k] = v
		}
		for k, v := range q.Params {
			merged[k] = v
		}
		s.Params = merged
	}
	s.Passes = max(q.Passes, 1)
	return s, true
}

// BaseAmong gives the base point among those of the shape that is run; ok is false where the shape leaves it out, and the
// ratio is then unknown.
func (r *Relative) BaseAmong(points []map[string]any) (base map[string]any, ok bool) {
	if r.Base == nil {
		if len(points) == 0 {
			return nil, false
		}
		return points[0], true
	}
	for _, p := range points {
		if maps.Equal(p, r.Base) {
			return p, true
		}
	}
	return nil, false
}

// NeedOf gives what the i-th point needs.
func (s *Shape) NeedOf(i int) Need {
	if len(s.Needs) == 1 {
		return s.Needs[0]
	}
	return s.Needs[i]
}
