package hw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/proc"
)

// errNoTool is the error of a command that is not there.
var errNoTool = errors.New("not installed")

// source is what a machine is read from: its files and its commands. Tests replay recorded ones.
type source struct {
	files fs.FS
	run   func(ctx context.Context, name string, args ...string) (string, error) // stdout and stderr together
	// follow starts a command that goes on printing, and gives its output; it ends with ctx.
	follow func(ctx context.Context, name string, args ...string) (io.ReadCloser, error)
	// patience is how much longer than usual the GPU vendors' tools may take.
	patience time.Duration
}

// Machine is a machine to be read. The zero value is this one.
type Machine struct {
	Guard  []string            // command that runs a child and ends it when this process dies; see internal/proc
	Env    func(string) string // environment, in which the vendors' tools are looked for: PATH, ROCM_PATH, CUDA_PATH; nil: the usual folders alone
	replay *source
}

// Replay is a recorded machine, for tests: its files, and what its commands print. No command goes on printing there unless
// follow is given.
func Replay(files fs.FS, run func(ctx context.Context, name string, args ...string) (string, error),
	follow func(ctx context.Context, name string, args ...string) (io.ReadCloser, error)) Machine {
	return Machine{replay: &source{files: files, run: run, follow: follow}}
}

func (m Machine) source() source {
	if m.replay != nil {
		return *m.replay
	}
	folders := toolFolders(m.Env)
	s := thisMachine(folders)
	s.follow = func(ctx context.Context, name string, args ...string) (io.ReadCloser, error) {
		path := proc.Find(name, folders)
		if path == "" {
			return nil, fmt.Errorf("%s: %w", name, errNoTool)
		}
		p, err := proc.Start(ctx, proc.Options{Path: path, Args: args, Guard: m.Guard, Pipes: true, TailLines: 10})
		if err != nil {
			return nil, err
		}
		return p.Stdout, nil
	}
	return s
}

func thisMachine(folders string) source {
	return source{files: root(), run: func(ctx context.Context, name string, args ...string) (string, error) {
		path := proc.Find(name, folders)
		if path == "" {
			return "", fmt.Errorf("%s: %w", name, errNoTool)
		}
		return inTime(ctx, name, func() (string, error) { return proc.Output(ctx, path, args...) })
	}}
}

// inTime waits for a command no longer than its context lasts, however long it takes to be ended.
func inTime(ctx context.Context, name string, run func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := run()
		done <- answer{text, err}
	}()
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(endsWithin, func() { close(late) })
	})
	defer stop()
	select {
	case a := <-done:
		return a.text, a.err
	case <-late:
		return "", fmt.Errorf("%s gave no answer in time: %w", name, ctx.Err())
	}
}

// endsWithin is how long a command may take to be ended before it is left behind.
const endsWithin = 50 * time.Millisecond

// root is the file system that Linux tells about itself in.
func root() fs.FS { return os.DirFS("/") }

// read gives a small file's text without space around it; "" where it can't be read.
func read(files fs.FS, name string) string {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// jsonIn decodes the JSON document that begins a line of text; tools print warnings before and after theirs.
func jsonIn(text string, into any) error {
	text = strings.TrimPrefix(text, "\ufeff")
	for rest := text; rest != ""; {
		line, next, _ := strings.Cut(rest, "\n")
		if t := strings.TrimSpace(line); t != "" && (t[0] == '{' || t[0] == '[') {
			err := json.NewDecoder(strings.NewReader(rest)).Decode(into)
			if err == nil {
				return nil
			}
			// A warning may begin with a bracket too: "[WARNING] ...".
			if next == "" || !strings.ContainsAny(next, "{[") {
				return fmt.Errorf("answer not understood: %w", err)
			}
		}
		rest = next
	}
	return fmt.Errorf("answer not understood: no JSON in %s", quote(text))
}

// quote gives the beginning of what a tool printed, for an error; a tool's own words say most.
func quote(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if line == "" {
		return "an empty answer"
	}
	if len(line) > 120 {
		line = line[:120] + "..."
	}
	return strconv.Quote(strings.ToValidUTF8(line, "?"))
}

// amount reads a number of 0 or more that may have text behind it ("31.0 W", "1710Mhz"); false for all else.
func amount(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	n, err := strconv.ParseFloat(text[:end], 64)
	return n, err == nil && n < 1<<60
}

// nulls lists the JSON names of the fields of a struct that are null.
func nulls(v any) []string {
	var names []string
	val := reflect.ValueOf(v)
	for i := range val.NumField() {
		f := val.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() == reflect.Pointer && name != "" && name != "-" && val.Field(i).IsNil() {
			names = append(names, name)
		}
	}
	return names
}

// fill takes the values that into does not have from another.
func fill[T any](into *T, from T) {
	a, b := reflect.ValueOf(into).Elem(), reflect.ValueOf(from)
	for i := range a.NumField() {
		if f := a.Field(i); f.Kind() == reflect.Pointer && f.CanSet() && f.IsNil() {
			f.Set(b.Field(i))
		}
	}
}
