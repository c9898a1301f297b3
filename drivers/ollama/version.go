package ollama

import (
	"strconv"
	"strings"
)

// version is a release as three numbers.
type version [3]int

// Releases that matter to what is asked and to what answers mean.
var (
	// oldest takes `truncate` and `shift`: those before cut a prompt that is too long, and say nothing.
	oldest = version{0, 12, 6}
	// serverInside is the first that runs llama-server inside, whose durations are defined otherwise.
	serverInside = version{0, 30, 0}
	// countsMended is the first release line after the one in which prompt_eval_count left the cached tokens out
	// (ollama#16414, mended by #16428 within the 0.30 line).
	countsMended = version{0, 31, 0}
)

// parseVersion reads "0.17.4" or "v0.33.0-rc2". The version of a source build, 0.0.0, is no version.
func parseVersion(s string) (version, bool) {
	var v version
	s = strings.TrimPrefix(strings.TrimSpace(s), "v")
	if i := strings.IndexAny(s, "-+ "); i >= 0 {
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return version{}, false
		}
		v[i] = int(n)
	}
	return v, v != version{}
}

// before reports whether v is an earlier release than w.
func (v version) before(w version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// String is the release as Ollama writes it.
func (v version) String() string {
	return strconv.Itoa(v[0]) + "." + strconv.Itoa(v[1]) + "." + strconv.Itoa(v[2])
}
