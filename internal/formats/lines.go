// Package formats writes a run for other programs: a JSON object a row, and OpenMetrics text. docs/formats.md describes both.
//
// It is pure and computes no metric: what it writes is in the result document. Workloads, points and metrics are data to it.
// What is not known is null with its reason in the one, and has no sample in the other.
package formats

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// LineSchema names the form of a line.
const LineSchema = "llm-speed/row/v1"

// Line is a row of a run with what is needed to make sense of it alone.
type Line struct {
	Schema     string            `json:"schema"`
	RunID      string            `json:"run_id"`
	MeasuredBy string            `json:"measured_by"` // llm-speed, or the program whose definitions the figures follow
	StartedAt  time.Time         `json:"started_at"`  // of the run
	State      record.State      `json:"state"`       // of the run
	Mode       string            `json:"mode" jsonschema:"enum=full,enum=quick,enum="`
	Simulated  bool              `json:"simulated"`
	Seed       string            `json:"seed"`
	Suite      LineSuite         `json:"suite"`
	Backend    LineBackend       `json:"backend"`
	Model      LineModel         `json:"model"`
	FP         string            `json:"fp"`  // the same for results of one machine and installation
	Row        string            `json:"row"` // its key
	Workload   string            `json:"workload"`
	Name       string            `json:"name"`  // of the workload
	Point      map[string]any    `json:"point"` // null where the workload has but one
	Status     record.Status     `json:"status" jsonschema:"enum=ok,enum=skipped,enum=failed"`
	Reason     string            `json:"reason"` // why it is not ok
	Rankable   bool              `json:"rankable"`
	Flags      []string          `json:"flags"` // of the run and of the row
	Passes     int               `json:"passes"`
	Requests   int               `json:"requests"`
	Counts     string            `json:"count_provenance"` // A to E; empty where no tokens were counted
	Figures    map[string]Figure `json:"figures"`          // by name; METRIC.STAT for a statistic that the suite declares
	LlamaBench json.RawMessage   `json:"llama_bench,omitempty"`
}

// LineSuite is what was run.
type LineSuite struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Digest   string `json:"digest"`
	Official bool   `json:"official"`
}

// LineBackend is what served.
type LineBackend struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Build   string `json:"build"`
}

// LineModel is what was served.
type LineModel struct {
	Name   string `json:"name"`
	Quant  string `json:"quant"`
	Digest string `json:"digest"`
}

// Figure is one figure of a row.
type Figure struct {
	Value     *float64 `json:"value"` // null where it is not known, and for what is no number
	Unit      string   `json:"unit"`  // ms, tok/s, tokens, count; "fraction" from 0 to 1; as the suite says for its own
	Low       *float64 `json:"low"`   // 95 % interval over passes; null with one pass
	High      *float64 `json:"high"`
	Text      string   `json:"text,omitempty"` // of what is no number
	Estimated string   `json:"estimated,omitempty"`
	Reason    string   `json:"reason,omitempty"` // why value is null
}

// Lines writes a run as a JSON object a row.
func Lines(w io.Writer, r *record.Result) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range r.Rows {
		if err := enc.Encode(lineOf(r, &r.Rows[i])); err != nil {
			return err
		}
	}
	return nil
}

func lineOf(r *record.Result, row *record.Row) Line {
	line := Line{
		Schema: LineSchema, RunID: r.RunID, MeasuredBy: cmp.Or(string(r.Kind), "llm-speed"), StartedAt: r.StartedAt, State: r.State, Mode: r.Mode,
		Simulated: report.Simulated(r), Seed: r.Seed, Suite: LineSuite{r.Suite.Name, r.Suite.Version, r.Suite.Digest, r.Suite.Official},
		Backend: LineBackend{r.Backend.Name, r.Backend.Version, r.Backend.Build}, Model: LineModel{cmp.Or(r.Model.Name, r.Model.Ref), r.Model.Quant, r.Model.Digest},
		FP: r.FP, Row: row.Key, Workload: row.ID, Name: row.Workload, Point: row.Point, Status: row.Status, Reason: row.Reason, Rankable: row.Rankable,
		Flags: flagNames(r, row), Passes: row.Passes, Requests: row.Requests, Counts: row.CountProvenance, Figures: map[string]Figure{}, LlamaBench: row.LlamaBench,
	}
	for _, f := range figuresOf(row) {
		out := Figure{Value: f.Value, Unit: f.Unit, Low: f.Low, High: f.High, Estimated: f.Estimated, Reason: f.Reason}
		switch {
		case f.Unit == "%": // ours are fractions
			out.Unit = "fraction"
		case f.Value == nil && f.Reason == "":
			out.Text = f.Text
		}
		line.Figures[f.Name] = out
	}
	return line
}

// figuresOf are all figures of a row: what the suite wants shown, then all else that it says, or leaves unknown with a reason.
func figuresOf(row *record.Row) []report.Figure {
	if row.Status != record.OK {
		return nil
	}
	return report.Figures(*row, append(slices.Clone(row.Reports), report.FigureNames(*row)...))
}

// flagNames are the flags of the run and of one of its rows, each once.
func flagNames(r *record.Result, row *record.Row) []string {
	names := []string{}
	for _, f := range slices.Concat(r.Flags, row.Flags) {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}
