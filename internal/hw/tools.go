package hw

import (
	"path/filepath"
	"strings"
)

// findIn lists the folders in which a vendor's tool is looked for, in their order: those where its packages put it, then
// those that the user's environment names for the toolkit, then the user's PATH. Folders that are not absolute are left out:
// what lies in the current folder is not run. env may be nil.
func findIn(fixed []string, env func(string) string, named ...string) string {
	dirs := append([]string{}, fixed...)
	if env != nil {
		for _, name := range named {
			if root := env(name); root != "" {
				dirs = append(dirs, filepath.Join(root, "bin"))
			}
		}
		dirs = append(dirs, filepath.SplitList(env("PATH"))...)
	}
	var kept []string
	seen := map[string]bool{}
	for _, d := range dirs {
		if d = filepath.Clean(d); filepath.IsAbs(d) && !seen[d] {
			seen[d] = true
			kept = append(kept, d)
		}
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}
