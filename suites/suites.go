// Package suites carries the suites that are built into the binary, as files. It neither reads nor checks what they say.
package suites

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed suite-v1
var embedded embed.FS

//go:embed template
var template embed.FS

// Template gives the files of a small working suite for authors to begin with. Its name is still the word NAME.
func Template() (fs.FS, error) { return fs.Sub(template, "template") }

// Prose gives the word lists of the prompt generator prose/1, for suites that bring none of their own. They are those of
// suite-v1 and never change: another list is another generator.
func Prose() ([]byte, error) { return embedded.ReadFile("suite-v1/data/prose.json") }

// Names gives the names of the built-in suites, sorted.
func Names() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		return nil // an embedded root can always be read
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Open gives the files of a built-in suite.
func Open(name string) (fs.FS, error) {
	if names := Names(); !slices.Contains(names, name) {
		return nil, fmt.Errorf("no built-in suite %q; built in: %s", name, strings.Join(names, " "))
	}
	return fs.Sub(embedded, name)
}
