// Package paths keeps the folders of a machine, and with them a user's name, out of what is shown of a model's path.
//
// It reads no file and knows the paths of either kind of system, whichever it runs on: the server may run on the other one.
package paths

import (
	"cmp"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// IsAbs reports whether a text is an absolute path: /a/b, ~/a, C:\a or \\server\a.
func IsAbs(s string) bool {
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, "~/") || strings.HasPrefix(s, `\\`) {
		return true
	}
	return len(s) > 2 && s[1] == ':' && (s[2] == '\\' || s[2] == '/') && (s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z')
}

// Base is the last part of a path of either system.
func Base(s string) string { return path.Base(strings.ReplaceAll(s, `\`, "/")) }

// Shown is the name under which a model may be shown: a path's last part, all else as it is. A path whose folder was starred
// out of a recording gives the same name as before.
func Shown(model string) string {
	if rest := strings.TrimLeft(model, "*"); rest != "" && rest != model {
		return rest
	}
	if IsAbs(model) {
		return Base(model)
	}
	return model
}

// leastFolder is the length in bytes of the shortest folder worth hiding.
const leastFolder = 4

// Folders lists the folders of those of the texts that are absolute paths, with their last separator, as they are and as
// JSON writes them. The root names nobody and is left out.
func Folders(texts ...string) []string {
	var all []string
	for _, t := range texts {
		if !IsAbs(t) {
			continue
		}
		folder := t[:strings.LastIndexAny(t, `/\`)+1]
		if len(folder) < leastFolder {
			continue
		}
		all = append(all, folder)
		if b, err := json.Marshal(folder); err == nil {
			all = append(all, string(b[1:len(b)-1]))
		}
	}
	return LongestFirst(all)
}

// LongestFirst sorts texts that are to be hidden, each once: one may be part of another.
func LongestFirst(texts []string) []string {
	slices.SortFunc(texts, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(texts)
}
