package hw

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shirou/gopsutil/v4/common"
)

// TestWholeCapture reads each recorded Linux machine as a run reads this one: all probes, those of the library too, whose
// files are redirected. Nothing of the machine that the test runs on may be in it but how many threads it may use.
func TestWholeCapture(t *testing.T) {
	dirs, err := filepath.Glob("testdata/machines/*/files.txt")
	if err != nil || len(dirs) < 15 {
		t.Fatalf("only %d recorded machines, %v", len(dirs), err)
	}
	for _, file := range dirs {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, part := range strings.Split("\n"+text(t, dir, "files.txt"), "\n== ")[1:] {
				name, body, _ := strings.Cut(part, "\n")
				to := filepath.Join(root, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(to, []byte(strings.TrimSuffix(body, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			ctx := context.WithValue(t.Context(), common.EnvKey, common.EnvMap{
				common.HostProcEnvKey: root + "/proc", common.HostSysEnvKey: root + "/sys", common.HostEtcEnvKey: root + "/etc", common.HostVarEnvKey: root + "/var",
				common.HostRunEnvKey: root + "/run", common.HostDevEnvKey: root + "/dev", common.HostRootEnvKey: root,
			})
			s := recorded(t, dir)
			s.files = os.DirFS(root)
			began := time.Now()
			fp := s.fingerprint(ctx)
			c := Machine{replay: &s}.ReadState(ctx)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			fp.CPU.Usable = nil
			fp.Reasons["cpu.usable_threads"] = "left out of this test"
			fp.OS.Arch = "(of the test)"
			for _, part := range []any{fp, c} {
				raw, err := json.Marshal(part)
				if err != nil {
					t.Fatal(err)
				}
				everyNullHasItsReason(t, raw)
				nothingPersonal(t, raw)
			}
			got, err := json.MarshalIndent(map[string]any{"fingerprint": fp, "state": c}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "whole", filepath.Base(dir)+".json")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
