package weightstest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Server finds a real llama-server: LLM_SPEED_LLAMA_SERVER, PATH, or what scripts/install-llama-server.sh has installed.
// Where there is none the test fails in CI, and is skipped elsewhere.
func Server(t testing.TB) string {
	t.Helper()
	return installed(t, "llama-server", "LLM_SPEED_LLAMA_SERVER", "scripts/install-llama-server.sh", append(filepath.SplitList(os.Getenv("PATH")), cacheBin()))
}

// Ollama finds a real ollama: LLM_SPEED_OLLAMA, what scripts/install-ollama.sh has built, or PATH. Where there is none the
// test fails in CI, and is skipped elsewhere.
func Ollama(t testing.TB) string {
	t.Helper()
	return installed(t, "ollama", "LLM_SPEED_OLLAMA", "scripts/install-ollama.sh", append([]string{cacheBin()}, filepath.SplitList(os.Getenv("PATH"))...))
}

// cacheBin is where this repository's scripts install programs.
func cacheBin() string {
	cache := os.Getenv("LLM_SPEED_CACHE")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache", "llm-speed-ci")
	}
	return filepath.Join(cache, "bin")
}

// installed finds a program: the one that env names, or the first of its name in dirs.
func installed(t testing.TB, program, env, script string, dirs []string) string {
	t.Helper()
	if p := os.Getenv(env); p != "" {
		return p
	}
	for _, dir := range dirs {
		p := filepath.Join(dir, program)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	missing := fmt.Sprintf("no %s: run %s, or set %s", program, script, env)
	if os.Getenv("CI") == "true" && runtime.GOOS == "linux" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
