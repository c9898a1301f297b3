package hw

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Raw is what a machine was read from: files and commands as they answered. It names machines and people as the machine
// itself does; see the redaction of whoever shows it.
type Raw struct {
	Files    string    // each under a heading "== path", as the test data of this package has them
	Commands []Command // in order of their text
}

// Command is a command and what it printed.
type Command struct {
	Line   string // name and arguments
	Output string // stdout and stderr together
	Err    string // how it failed; "" where it did not
}

// The bounds of a Raw.
const (
	maxRawFile = 16 << 10 // bytes of a file that are kept
	maxRawOut  = 64 << 10 // bytes of an output that are kept
	maxRawAll  = 2 << 20  // bytes of all files
)

// extraFiles say more about a Linux machine than the probes ask.
var extraFiles = []string{"etc/os-release", "proc/meminfo", "proc/version", "proc/cpuinfo", "proc/driver/nvidia/version"}

// Record reads a machine and keeps what it was read from, but for what names it: the firmware's table holds serial numbers.
func (m Machine) Record(ctx context.Context) (Fingerprint, Condition, Raw) {
	k := &keeper{inner: m.source(), files: map[string]string{}, commands: map[string]Command{}}
	own := source{files: k, run: k.run}
	kept := Machine{replay: &own}
	var fp Fingerprint
	var c Condition
	var wg sync.WaitGroup
	wg.Go(func() { fp = kept.Read(ctx) })
	wg.Go(func() { c = kept.ReadState(ctx) })
	wg.Wait()
	for _, f := range extraFiles {
		_, _ = k.ReadFile(f) // kept where it is there
	}
	return fp, c, k.raw()
}

// keeper is a source that keeps what it gives.
type keeper struct {
	inner    source
	mu       sync.Mutex
	files    map[string]string
	commands map[string]Command
}

// Open gives a file without keeping it; globs use it to list folders.
func (k *keeper) Open(name string) (fs.File, error) { return k.inner.files.Open(name) }

// notKept says that a file is read and not kept: the firmware's table and a card's unique_id name one machine among all of
// its kind, and the lists of device names are everybody's.
func notKept(name string) bool {
	return strings.HasPrefix(name, "sys/firmware/dmi/") || strings.HasSuffix(name, "/unique_id") || strings.HasPrefix(name, "usr/share/")
}

// ReadFile keeps what it reads.
func (k *keeper) ReadFile(name string) ([]byte, error) {
	b, err := fs.ReadFile(k.inner.files, name)
	if err != nil || notKept(name) {
		return b, err
	}
	text := string(b[:min(len(b), maxRawFile)])
	if name == "proc/cpuinfo" { // one processor stands for all
		text, _, _ = strings.Cut(text, "\n\n")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files[name] = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "?")
	return b, nil
}

func (k *keeper) run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := k.inner.run(ctx, name, args...)
	c := Command{Line: strings.Join(append([]string{name}, args...), " "), Output: strings.ToValidUTF8(out[:min(len(out), maxRawOut)], "?")}
	if err != nil {
		c.Err = err.Error()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.commands[c.Line] = c
	return out, err
}

func (k *keeper) raw() Raw {
	k.mu.Lock()
	defer k.mu.Unlock()
	var r Raw
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(k.files)) {
		if b.Len() > maxRawAll {
			b.WriteString("== (more is left out)\n")
			break
		}
		fmt.Fprintf(&b, "== %s\n%s\n", name, strings.TrimRight(k.files[name], "\n"))
	}
	r.Files = b.String()
	for _, line := range slices.Sorted(maps.Keys(k.commands)) {
		r.Commands = append(r.Commands, k.commands[line])
	}
	return r
}
