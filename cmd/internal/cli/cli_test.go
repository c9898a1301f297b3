package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the stories in testdata run this program as a user does: as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"llm-speed": func() { os.Exit(Main(OS())) }})
}

func TestStories(t *testing.T) {
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			// Nothing of the machine's own: no servers on PATH, no models, no saved runs.
			for name, value := range map[string]string{
				"HOME": e.WorkDir, "XDG_DATA_HOME": e.WorkDir + "/data", "XDG_CACHE_HOME": e.WorkDir + "/cache", "XDG_CONFIG_HOME": e.WorkDir + "/config",
				"LOCALAPPDATA": e.WorkDir + "/data", "NO_COLOR": "1", "SUITE_DATA": filepath.Join(repo, "suites", "suite-v1", "data"),
			} {
				e.Setenv(name, value)
			}
			return nil
		},
	})
}
