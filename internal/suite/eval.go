package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-jsonnet"
)

// The limits on an evaluation.
const (
	maxNesting   = 64
	maxStack     = 200
	maxOutput    = 4 << 20
	maxEvaluates = 10 * time.Second
)

// Evaluate runs the jsonnet file main of a suite's files, by path, in this process and gives its JSON. It reads nothing but f; external variables, native functions and
// trace output do not exist. The evaluator can't be stopped: after the time limit's error it goes on until the process ends.
func Evaluate(f map[string][]byte, main string) (string, error) {
	content, ok := f[main]
	if !ok {
		return "", fmt.Errorf("%s: %w; a suite is described by this file", main, fs.ErrNotExist)
	}
	if err := checkNesting(main, content); err != nil {
		return "", err
	}
	vm := jsonnet.MakeVM()
	vm.MaxStack = maxStack
	vm.SetTraceOut(io.Discard)
	vm.Importer(&importer{files: f, cache: map[string]jsonnet.Contents{}})

	type outcome struct {
		json string
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- outcome{err: fmt.Errorf("%s: the jsonnet evaluator crashed: %v", main, r)}
			}
		}()
		out, err := vm.EvaluateAnonymousSnippet(main, string(content))
		done <- outcome{out, err}
	}()
	timer := time.NewTimer(maxEvaluates)
	defer timer.Stop()
	select {
	case o := <-done:
		if o.err != nil {
			return "", jsonnetError(main, o.err)
		}
		if len(o.json) > maxOutput {
			return "", fmt.Errorf("%s: evaluates to more than %d MiB", main, maxOutput>>20)
		}
		return o.json, nil
	case <-timer.C:
		return "", fmt.Errorf("%s: evaluation took longer than %s; look for an endless recursion or a huge array", main, maxEvaluates)
	}
}

// placed is how the parser reports.
var placed = regexp.MustCompile(`^([\w./ -]+:\d+:\d+(?:-[\d:]+)?) (.+)$`)

// jsonnetError makes one line of the evaluator's report: what, and the innermost place.
func jsonnetError(main string, err error) error {
	lines := strings.Split(strings.TrimSpace(shown(err.Error())), "\n")
	what := strings.TrimPrefix(strings.TrimSpace(lines[0]), "RUNTIME ERROR: ")
	if m := placed.FindStringSubmatch(what); m != nil { // of the parser and the like: the place comes first, and the line after
		return fmt.Errorf("%s: %s", m[1], m[2])
	}
	for _, line := range lines[1:] {
		place, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.Contains(place, ":") {
			return fmt.Errorf("%s: %s", place, what)
		}
	}
	if !strings.Contains(what, ".jsonnet:") && !strings.Contains(what, ".libsonnet:") && !strings.Contains(what, ".json:") {
		return fmt.Errorf("%s: %s", main, what)
	}
	return errors.New(what)
}

// maxMessage bounds what a document can say in an error, in bytes.
const maxMessage = 4 << 10

// shown makes text of a suite fit for a terminal: without control characters but line ends, and not endless.
func shown(text string) string {
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// importer serves imports from the suite's own files.
type importer struct {
	files files
	cache map[string]jsonnet.Contents // the evaluator wants the same Contents for the same path
}

var importable = []string{".json", ".jsonnet", ".libsonnet", ".txt"}

// Import resolves a path beside the file that imports it, without leaving the suite.
func (i *importer) Import(from, name string) (jsonnet.Contents, string, error) {
	none := jsonnet.Contents{}
	if !fs.ValidPath(name) {
		return none, "", fmt.Errorf("import %q: wants a plain relative path inside the suite, without `..`", name)
	}
	p := path.Join(path.Dir(from), name)
	if !slices.Contains(importable, path.Ext(p)) {
		return none, "", fmt.Errorf("import %q: wants one of %s", name, strings.Join(importable, " "))
	}
	if c, ok := i.cache[p]; ok {
		return c, p, nil
	}
	content, ok := i.files[p]
	if !ok {
		return none, "", fmt.Errorf("import %q: no such file in the suite", name)
	}
	switch path.Ext(p) {
	case ".json":
		if !json.Valid(content) {
			return none, "", fmt.Errorf("import %q: is not JSON", name)
		}
		fallthrough
	case ".jsonnet", ".libsonnet":
		if err := checkNesting(p, content); err != nil {
			return none, "", err
		}
	}
	c := jsonnet.MakeContentsRaw(content)
	i.cache[p] = c
	return c, p, nil
}

// checkNesting refuses source whose brackets nest deeper than maxNesting, or that chains so many prefix operators, because
// the evaluator's parser recurses once for each without a limit. Strings and comments don't count.
func checkNesting(name string, src []byte) error {
	depth, prefix, line := 0, 0, 1
	for i := 0; i < len(src); i++ {
		c := src[i]
		switch c {
		case '\n':
			line++
			continue
		case ' ', '\t', '\r':
			continue
		}
		switch {
		case c == '"' || c == '\'':
			end := stringEnd(src, i)
			line += bytes.Count(src[i:end], []byte("\n"))
			i, prefix = end-1, 0
		case c == '#' || c == '/' && i+1 < len(src) && src[i+1] == '/':
			for i+1 < len(src) && src[i+1] != '\n' {
				i++
			}
		case c == '/' && i+1 < len(src) && src[i+1] == '*':
			end := bytes.Index(src[i+2:], []byte("*/"))
			if end < 0 {
				return nil // the parser says what is wrong
			}
			line += bytes.Count(src[i:i+2+end], []byte("\n"))
			i += end + 3
		case c == '|' && bytes.HasPrefix(src[i:], []byte("|||")):
			end := blockEnd(src, i)
			line += bytes.Count(src[i:end], []byte("\n"))
			i, prefix = end-1, 0
		case c == '(' || c == '[' || c == '{':
			depth++
			prefix = 0
		case c == ')' || c == ']' || c == '}':
			depth--
			prefix = 0
		case c == '-' || c == '+' || c == '!' || c == '~':
			prefix++
		default:
			prefix = 0
		}
		if depth > maxNesting || prefix > maxNesting {
			return fmt.Errorf("%s:%d: nests deeper than %d", name, line, maxNesting)
		}
	}
	return nil
}

// stringEnd gives the index after the string that begins at i, verbatim (@"") or with escapes.
func stringEnd(src []byte, i int) int {
	quote, verbatim := src[i], i > 0 && src[i-1] == '@'
	for j := i + 1; j < len(src); j++ {
		switch {
		case !verbatim && src[j] == '\\':
			j++
		case src[j] == quote && verbatim && j+1 < len(src) && src[j+1] == quote:
			j++
		case src[j] == quote:
			return j + 1
		}
	}
	return len(src)
}

// blockEnd gives the index after the text block (|||) that begins at i: its lines carry the first line's indentation, and
// the first line without it ends the block.
func blockEnd(src []byte, i int) int {
	lineEnd := func(from int) int {
		if n := bytes.IndexByte(src[from:], '\n'); n >= 0 {
			return from + n + 1
		}
		return len(src)
	}
	at := lineEnd(i)
	for at < len(src) && src[at] == '\n' {
		at++
	}
	indent := at
	for indent < len(src) && (src[indent] == ' ' || src[indent] == '\t') {
		indent++
	}
	prefix := src[at:indent]
	if len(prefix) == 0 {
		return at // the parser says what is wrong
	}
	for at < len(src) && (src[at] == '\n' || bytes.HasPrefix(src[at:], prefix)) {
		at = lineEnd(at)
	}
	for at < len(src) && (src[at] == ' ' || src[at] == '\t') {
		at++
	}
	return min(at+len("|||"), len(src))
}
