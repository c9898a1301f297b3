package llamabench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Test is one test: Prompt tokens in one go, then Gen tokens one after another, both behind Depth tokens that are not timed.
type Test struct {
	Who                // what was measured
	Prompt, Gen, Depth int
	At                 time.Time // zero where it is not said
	SamplesNS          []int64   // of each repetition; nil where they are not there
	AvgNS              *float64  // as the file states them
	AvgTS, StddevTS    *float64
	Settings           map[string]any  // all else that is one value: float64, string or bool
	Written            json.RawMessage // the whole test as it was written, without folders, keys in order
}

// Who is the same for all tests of one run.
type Who struct {
	Commit, Build, CPU, GPU, Backends string
	File, Model                       string
	Size, Params                      int64 // 0 where it is not said
}

// timed are the fields that are not settings.
func timed() []string {
	return []string{
		"n_prompt", "n_gen", "n_depth", "test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts",
		"build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "model_size", "model_n_params",
	}
}

func testOf(fields map[string]json.RawMessage) (*Test, error) {
	for name, value := range fields {
		clean, err := withoutFolders(name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clipped(name), err)
		}
		fields[name] = clean
	}
	t := &Test{Settings: map[string]any{}}
	var err error
	if t.Written, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	if fields["n_prompt"] == nil && fields["n_gen"] == nil {
		return nil, fmt.Errorf("%w: it says neither n_prompt nor n_gen", ErrOther)
	}
	for name, to := range map[string]*int{"n_prompt": &t.Prompt, "n_gen": &t.Gen, "n_depth": &t.Depth} {
		if *to, err = tokens(fields[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if t.Prompt+t.Gen == 0 {
		return nil, errors.New("n_prompt and n_gen are both 0: it measured nothing")
	}
	for name, to := range map[string]*string{
		"build_commit": &t.Commit, "build_number": &t.Build, "cpu_info": &t.CPU, "gpu_info": &t.GPU, "backends": &t.Backends,
		"model_filename": &t.File, "model_type": &t.Model,
	} {
		if v := scalar(fields[name]); v != nil {
			*to = clipped(valueText(v))
		}
	}
	for name, to := range map[string]*int64{"model_size": &t.Size, "model_n_params": &t.Params} {
		if x := number(fields[name]); x != nil && *x > 0 && *x < 1<<53 {
			*to = int64(*x)
		}
	}
	if text, ok := scalar(fields["test_time"]).(string); ok {
		if at, err := time.Parse(time.RFC3339, text); err == nil && at.Year() >= 2000 && at.Year() < 2200 {
			t.At = at.UTC()
		}
	}
	t.AvgNS, t.AvgTS, t.StddevTS = number(fields["avg_ns"]), number(fields["avg_ts"]), number(fields["stddev_ts"])
	if t.SamplesNS, err = samples(fields["samples_ns"]); err != nil {
		return nil, fmt.Errorf("samples_ns: %w", err)
	}
	for name, value := range fields {
		if v := scalar(value); v != nil && !slices.Contains(timed(), name) {
			t.Settings[clipped(name)] = v
		}
	}
	return t, nil
}

// scalar is a value that is no list and no object; nil where it is one, null, or not there.
func scalar(text json.RawMessage) any {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return nil
	}
	switch x := v.(type) {
	case string:
		return clipped(x)
	case float64, bool:
		return x
	}
	return nil
}

// valueText shows a scalar as people write it.
func valueText(v any) string {
	if x, ok := v.(float64); ok {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// number reads a number however a build writes it, in quotes or not; nil where there is none.
func number(text json.RawMessage) *float64 {
	x, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func tokens(text json.RawMessage) (int, error) {
	if text == nil { // older builds have no n_depth
		return 0, nil
	}
	x := number(text)
	if x == nil || *x < 0 || *x > maxTokens || *x != math.Trunc(*x) {
		return 0, fmt.Errorf("%s: want a whole number from 0 to %d", clipped(string(text)), maxTokens)
	}
	return int(*x), nil
}

// samples reads the times of the repetitions, in nanoseconds.
func samples(text json.RawMessage) ([]int64, error) {
	if text == nil || string(text) == "null" {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, errors.New("it is no list")
	}
	if len(list) > maxSamples {
		return nil, fmt.Errorf("%d values; the most is %d", len(list), maxSamples)
	}
	out := make([]int64, 0, len(list))
	for _, one := range list {
		x := number(one)
		if x == nil || *x != math.Trunc(*x) || *x < 0 || *x > 1e17 {
			return nil, fmt.Errorf("%s is no time in nanoseconds", clipped(string(one)))
		}
		out = append(out, int64(*x))
	}
	return out, nil
}

// clipped bounds a text that is taken out of a document.
func clipped(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// What must not be kept of a text: a path from a root (/home/…, ~/…, C:\…, \\host\…), which names users, and the address of
// another machine.
var (
	rooted  = regexp.MustCompile(`^(?:(?:file://)?/|~[^\s/\\]*[/\\]|\.\.?[/\\]|[A-Za-z]:[/\\]|\\\\)`)
	inside  = regexp.MustCompile(`([\s,;:=("'])((?:file://)?/|~[^\s/\\]*[/\\]|[A-Za-z]:[/\\]|\\\\)[^\s,;"')]+`)
	address = regexp.MustCompile(`(?:[\w-]+\.)*[\w-]+:\d{3,5}\b|\[[0-9a-fA-F:]+\](?::\d+)?|\b\d{1,3}(?:\.\d{1,3}){3}\b`)
)

// withoutFolders takes the folders out of the paths in a value, and addresses. The model's file may be named by any path.
func withoutFolders(name string, text json.RawMessage) (json.RawMessage, error) {
	if !bytes.ContainsRune(text, '"') || name == "test_time" {
		return text, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // numbers stay as they are written
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(eachText(v, func(s string) string {
		if name == "model_filename" || rooted.MatchString(s) {
			s = baseOf(s)
		}
		s = inside.ReplaceAllStringFunc(s, func(found string) string { return found[:1] + baseOf(found[1:]) })
		return address.ReplaceAllString(s, "(address left out)")
	}))
}

// baseOf is the last part of a path of any system.
func baseOf(p string) string {
	p = strings.TrimRight(strings.ReplaceAll(p, `\`, "/"), "/")
	if p == "" {
		return ""
	}
	return path.Base(p)
}

func eachText(v any, f func(string) string) any {
	switch x := v.(type) {
	case string:
		return f(x)
	case []any:
		for i := range x {
			x[i] = eachText(x[i], f)
		}
	case map[string]any:
		for k := range x {
			x[k] = eachText(x[k], f)
		}
	}
	return v
}
