package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/manifest"
	"github.com/llm-speed/llm-speed/manifest/manifesttest"
)

// TestUpdateStories are the stories of suites that come over the network: a server on loopback publishes them, signed by a key.
func TestUpdateStories(t *testing.T) {
	key, err := manifesttest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	cosign := cosignBinary()
	outputs := hold(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/update",
		Condition: func(cond string) (bool, error) {
			if cond != "cosign" {
				return false, fmt.Errorf("no condition %q", cond)
			}
			if cosign == "" && os.Getenv("CI") == "true" {
				return false, errors.New("no cosign: scripts/install-cosign.sh installs it")
			}
			return cosign != "", nil
		},
		Setup: func(e *testscript.Env) error {
			www := filepath.Join(e.WorkDir, "www")
			if err := os.Mkdir(www, 0o700); err != nil {
				return err
			}
			srv := httptest.NewServer(http.FileServer(http.Dir(www)))
			e.Defer(srv.Close)
			e.Setenv("URL", srv.URL)
			e.Setenv("REPO", repo)
			e.Setenv("COSIGN", cosign)
			if err := os.WriteFile(filepath.Join(e.WorkDir, "key.pub"), pub, 0o600); err != nil {
				return err
			}
			return errors.Join(isolated(e), outputs.story(e))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// publish VERSION STATUS@SUITE@REVISION…: puts up archives, a manifest and its bundle.
			"publish": func(ts *testscript.TestScript, _ bool, args []string) {
				www := ts.MkAbs("www")
				list := ""
				for _, arg := range args[1:] {
					var status, name, revision string
					if _, err := fmt.Sscanf(string(bytes.ReplaceAll([]byte(arg), []byte("@"), []byte(" "))), "%s %s %s", &status, &name, &revision); err != nil {
						ts.Fatalf("%s: %v", arg, err)
					}
					b := packedSuite(ts, name, revision)
					file := name + "-" + revision + ".tar.gz"
					ts.Check(os.WriteFile(filepath.Join(www, file), b, 0o600))
					list += fmt.Sprintf("{ name: '%s', version: '%s', url: '%s', length: %d, sha256: '%x', engine: 1, status: '%s', reason: 'a wrong size' }, ",
						name, revision, file, len(b), sha256.Sum256(b), status)
				}
				now := time.Now().UTC()
				source := fmt.Appendf(nil, "{ _type: '%s', channel: 'stable', epoch: 1, version: %s, issued: '%s', expires: '%s', suites: [%s] }\n",
					manifest.Type, args[0], now.Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339), list)
				bundle, err := key.Sign(source)
				ts.Check(err)
				ts.Check(os.WriteFile(filepath.Join(www, "m.jsonnet"), source, 0o600))
				ts.Check(os.WriteFile(filepath.Join(www, "m.jsonnet"+manifest.BundleSuffix), bundle, 0o600))
			},
		},
	})
}

// cosignBinary finds the real cosign, as the tests of manifest do; empty where it is not here.
func cosignBinary() string {
	candidates := []string{os.Getenv("LLM_SPEED_COSIGN")}
	if cache := os.Getenv("LLM_SPEED_CACHE"); cache != "" {
		candidates = append(candidates, filepath.Join(cache, "bin", "cosign"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".cache", "llm-speed-ci", "bin", "cosign"))
	}
	for _, c := range append(candidates, "cosign") {
		if path, err := exec.LookPath(c); c != "" && err == nil {
			return path
		}
	}
	return ""
}

func packedSuite(ts *testscript.TestScript, name, version string) []byte {
	files := fstest.MapFS{}
	for p, b := range manifesttest.Suite(name, version) {
		files[p] = &fstest.MapFile{Data: b}
	}
	s, err := suite.Load(context.Background(), files, suite.InProcess)
	ts.Check(err)
	var b bytes.Buffer
	ts.Check(suite.Pack(&b, s))
	return b.Bytes()
}
