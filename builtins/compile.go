package builtins

import (
	"fmt"
	"io/fs"
	"path"
	"runtime/debug"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Limits of a program's text. Deeper or longer sources can exhaust the stack of the resolver.
const (
	MaxSource = 256 << 10 // bytes a file
	MaxFiles  = 64        // the program and all that it loads
)

// Program is a compiled program with every module that it loads. It holds no state of a run and may be run many times.
type Program struct {
	name    string
	modules []module // every file, each after those that it loads; the program itself last
}

type module struct {
	name    string
	code    *starlark.Program
	globals map[string]bool
}

// Name is the program's path inside its suite.
func (p *Program) Name() string { return p.name }

// CheckLibrary checks a file that is no program itself, and all that it loads, as Compile does.
func CheckLibrary(name string, src []byte, read func(path string) ([]byte, error)) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &ScriptError{File: name, Msg: "can't be compiled", Err: &BugError{r, debug.Stack()}}
		}
	}()
	c := &compiler{read: read, names: globalNames(), state: map[string]int{}, globals: map[string]map[string]bool{}}
	_, err = c.add(name, src)
	return err
}

// Compile reads a program and all that it loads, through read, by paths inside the suite, and checks what can be checked
// without running any of it: syntax, unknown names, the load graph, and that there is a run(w). Errors are *ScriptError.
func Compile(name string, src []byte, read func(path string) ([]byte, error)) (p *Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, &ScriptError{File: name, Msg: "can't be compiled", Err: &BugError{r, debug.Stack()}}
		}
	}()
	c := &compiler{read: read, names: globalNames(), state: map[string]int{}, globals: map[string]map[string]bool{}}
	if why := badPath(name); why != "" {
		return nil, &ScriptError{File: name, Msg: why}
	}
	file, err := c.add(name, src)
	if err != nil {
		return nil, err
	}
	if err := checkRun(name, file); err != nil {
		return nil, err
	}
	return &Program{name: name, modules: c.done}, nil
}

// States of a module in the walk over the load graph.
const (
	unseen = iota
	open
	closed
)

type compiler struct {
	read    func(string) ([]byte, error)
	names   map[string]bool            // of the builtins
	state   map[string]int             // by path
	globals map[string]map[string]bool // what a closed module defines
	done    []module
}

// add compiles one file, its loads first.
func (c *compiler) add(name string, src []byte) (*syntax.File, error) {
	if len(src) > MaxSource {
		return nil, &ScriptError{File: name, Msg: fmt.Sprintf("%d bytes of source, want at most %d: move data into suite.jsonnet", len(src), MaxSource)}
	}
	c.state[name] = open
	if len(c.state) > MaxFiles {
		return nil, &ScriptError{File: name, Msg: fmt.Sprintf("the program loads more than %d files", MaxFiles-1)}
	}
	opts := syntax.FileOptions{Set: true}
	file, code, err := starlark.SourceProgramOptions(&opts, name, src, func(n string) bool { return c.names[n] })
	if err != nil {
		return nil, compileError(name, err)
	}
	for _, stmt := range file.Stmts {
		load, ok := stmt.(*syntax.LoadStmt)
		if !ok {
			continue
		}
		if err := c.load(load); err != nil {
			return nil, err
		}
	}
	defined := map[string]bool{}
	for _, b := range file.Module.(*resolve.Module).Globals {
		defined[b.First.Name] = true
	}
	c.state[name], c.globals[name] = closed, defined
	c.done = append(c.done, module{name, code, defined})
	return file, nil
}

// load follows one load statement and checks that what it names is there.
func (c *compiler) load(stmt *syntax.LoadStmt) error {
	name := stmt.ModuleName()
	if why := badPath(name); why != "" {
		return at(stmt.Module.TokenPos, fmt.Sprintf("load(%q): %s", name, why))
	}
	switch c.state[name] {
	case open:
		return at(stmt.Module.TokenPos, fmt.Sprintf("load(%q): the files load each other in a circle", name))
	case unseen:
		src, err := c.read(name)
		if err != nil {
			e := at(stmt.Module.TokenPos, fmt.Sprintf("load(%q): %v", name, err))
			e.Err = err
			return e
		}
		if _, err := c.add(name, src); err != nil {
			return err
		}
	}
	for _, from := range stmt.From {
		if !c.globals[name][from.Name] {
			return at(from.NamePos, fmt.Sprintf("load(%q): it defines no %s", name, from.Name))
		}
	}
	return nil
}

// badPath says what is wrong with a path, or nothing. Paths mean the same on every operating system.
func badPath(p string) string {
	if !fs.ValidPath(p) || path.Ext(p) != ".star" || strings.ContainsAny(p, "\\:\x00") {
		return "want a path from the suite's root to a .star file, such as lib/turns.star"
	}
	return ""
}

// checkRun finds def run(w).
func checkRun(name string, file *syntax.File) error {
	for _, stmt := range file.Stmts {
		def, ok := stmt.(*syntax.DefStmt)
		if !ok || def.Name.Name != "run" {
			continue
		}
		if len(def.Params) == 1 {
			if _, plain := def.Params[0].(*syntax.Ident); plain {
				return nil
			}
		}
		return at(def.Name.NamePos, "run takes exactly one argument: def run(w)")
	}
	return &ScriptError{File: name, Msg: "no run function: a program defines run(w), which runs one pass"}
}
