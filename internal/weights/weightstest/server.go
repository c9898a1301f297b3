package weightstest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Server finds a real llama-server: LLM_SPEED_LLAMA_SERVER, PATH, or what scripts/install-llama-server.sh has installed.
// Where there is none the test fails in CI, and is skipped elsewhere.
func Server(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("LLM_SPEED_LLAMA_SERVER"); p != "" {
		return p
	}
	cache := os.Getenv("LLM_SPEED_CACHE")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache", "llm-speed-ci")
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), filepath.Join(cache, "bin")) {
		p := filepath.Join(dir, "llama-server")
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	const missing = "no llama-server: run scripts/install-llama-server.sh, or set LLM_SPEED_LLAMA_SERVER"
	if os.Getenv("CI") == "true" && runtime.GOOS == "linux" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}
