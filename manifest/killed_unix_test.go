//go:build unix

package manifest

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/verify"
)

// TestKilled kills an update before each of its steps, with SIGKILL. Afterwards the old state or the new one is there, as a
// whole, and the next update ends well.
func TestKilled(t *testing.T) {
	if os.Getenv("MANIFEST_TEST_KILL") != "" {
		killedUpdate(t)
		return
	}
	auth := authority(t)
	p := newPublisher(t, auth)
	one, two := archive(t, "suite-v2", "2.0.0"), archive(t, "suite-v2", "2.1.0")
	p.put("/one.tar.gz", one)
	p.put("/two.tar.gz", two)
	tr, err := auth.TrustedRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{
		"write archives/", "rename archives/", "write manifests/*.jsonnet", "rename manifests/*.jsonnet",
		"write manifests/*" + BundleSuffix, "rename manifests/*" + BundleSuffix, "write state.json", "rename state.json", "sweep", "done",
	} {
		t.Run(at, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "suites")
			p.publish(t, newList(1, entry("suite-v2", "2.0.0", "one.tar.gz", one, Current)).source())
			u := p.updater(t, dir)
			if _, err := u.Update(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			p.publish(t, newList(2, entry("suite-v2", "2.0.0", "one.tar.gz", one, Old), entry("suite-v2", "2.1.0", "two.tar.gz", two, Current)).source())
			root := filepath.Join(t.TempDir(), "root.json")
			if err := os.WriteFile(root, tr, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilled$")
			cmd.Env = append(os.Environ(), "MANIFEST_TEST_KILL="+at, "MANIFEST_TEST_DIR="+dir, "MANIFEST_TEST_URL="+p.URL, "MANIFEST_TEST_ROOT="+root)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the update was not killed: %v\n%s", err, out)
			}
			in, err := Suites(dir)
			if err != nil {
				t.Fatal(err)
			}
			committed := at == "sweep" || at == "done"
			if want := map[bool]int{false: 1, true: 2}[committed]; len(in) != want {
				t.Errorf("%d suites are installed, want %d", len(in), want)
			}
			for _, s := range in {
				if _, _, err := Open(dir, s.Name, s.Version); err != nil {
					t.Error(err)
				}
			}
			if _, err := u.Update(t.Context(), false); err != nil {
				t.Errorf("the next update: %v", err)
			}
			if b, _, err := Open(dir, "suite-v2", ""); err != nil || !bytes.Equal(b, two) {
				t.Errorf("after the next update: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*", ".new-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// killedUpdate is the process that is killed.
func killedUpdate(t *testing.T) {
	tr, err := os.ReadFile(os.Getenv("MANIFEST_TEST_ROOT"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := keyless(tr, Identity{issuer, subject}, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		t.Fatal(err)
	}
	u := (&publisher{Server: &httptest.Server{URL: os.Getenv("MANIFEST_TEST_URL")}, auth: authority(t)}).updater(t, os.Getenv("MANIFEST_TEST_DIR"))
	u.Verify = v
	u.step = func(name string) {
		begins, ends, _ := strings.Cut(os.Getenv("MANIFEST_TEST_KILL"), "*")
		if strings.HasPrefix(name, begins) && strings.HasSuffix(name, ends) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		}
	}
	_, err = u.Update(t.Context(), false)
	t.Fatalf("it lived: %v", err)
}
