package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/llm-speed/llm-speed/internal/store"
)

// outputsEnv names the folder where the program, as stories run it, leaves what it has written as JSON.
const outputsEnv = "LLM_SPEED_STORY_OUTPUTS"

// output is what one command of a story has written.
type output struct {
	Args  []string `json:"args"`
	Texts [][]byte `json:"texts"`
}

// mostKept bounds what is kept of one output.
const mostKept = 16 << 20

// recorded runs the program as Main does, and keeps what it wrote as JSON: to stdout, and to the files of --json and -o.
func recorded(p *Process) int {
	dir := os.Getenv(outputsEnv)
	if dir == "" {
		return Main(p)
	}
	kept := &bytes.Buffer{}
	p.Stdout = io.MultiWriter(p.Stdout, &upTo{kept, mostKept})
	code := Main(p)
	out := output{Args: p.Args}
	if looksJSON(kept.Bytes()) {
		out.Texts = append(out.Texts, kept.Bytes())
	}
	for i, arg := range p.Args {
		if i > 0 && (p.Args[i-1] == "--json" || p.Args[i-1] == "-o") {
			if text, err := os.ReadFile(arg); err == nil && looksJSON(text) {
				out.Texts = append(out.Texts, text)
			}
		}
	}
	if len(out.Texts) == 0 {
		return code
	}
	text, err := json.Marshal(out)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, "*.json"); err == nil {
			_, err = f.Write(text)
			_ = f.Close()
		}
	}
	if err != nil {
		panic(err)
	}
	return code
}

// upTo keeps the beginning of what is written.
type upTo struct {
	to   *bytes.Buffer
	left int
}

func (u *upTo) Write(p []byte) (int, error) {
	n := min(len(p), u.left)
	u.to.Write(p[:n])
	u.left -= n
	return len(p), nil
}

func looksJSON(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// held holds what the stories of a test write against the published schemas.
type held struct {
	t    *testing.T
	all  map[string]*jsonschema.Schema
	mu   sync.Mutex
	seen map[string]int // documents by schema
}

func hold(t *testing.T) *held {
	h := &held{t: t, all: schemas(t), seen: map[string]int{}}
	t.Cleanup(func() { t.Logf("documents held against their schemas: %v", h.seen) })
	return h
}

// story arranges that at the end of a story everything that it wrote is held against its schema: each output in JSON, and each
// run that it has saved and that can be read.
func (h *held) story(e *testscript.Env) error {
	dir := filepath.Join(h.t.TempDir(), "outputs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	e.Setenv(outputsEnv, dir)
	name := strings.TrimPrefix(filepath.Base(e.WorkDir), "script-")
	e.Defer(func() {
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, file := range files {
			var out output
			text, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(text, &out)
			}
			if err != nil {
				h.t.Errorf("%s: %v", name, err)
			}
			for _, text := range out.Texts {
				h.check(name+": llm-speed "+strings.Join(out.Args, " "), out.Args, text)
			}
		}
		_ = filepath.WalkDir(e.WorkDir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "result.json" || filepath.Base(filepath.Dir(filepath.Dir(path))) != "runs" {
				return nil //nolint:nilerr // a folder that a story has closed
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			if _, err := store.Parse(text); err == nil { // a story may have damaged it
				h.check(name+": "+path, nil, text)
			}
			return nil
		})
	})
	return nil
}

func (h *held) check(what string, command []string, text []byte) {
	schema, err := fits(h.all, command, text)
	if err != nil {
		h.t.Errorf("%s: %v", what, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[schema]++
}
