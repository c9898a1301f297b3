package drivertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// recordedDir is where recordings of real servers lie.
const recordedDir = "testdata/recorded"

// Recorded is a recording of a real server as it is kept.
type Recorded struct {
	Backend   string           `json:"backend"`
	Version   string           `json:"version"` // of the server
	Build     string           `json:"build,omitempty"`
	Model     string           `json:"model"`
	Date      string           `json:"date"`
	What      string           `json:"what"` // which of the live checks
	Recording stream.Recording `json:"recording"`
}

// keep writes a recording, without what must not be seen.
func (x *live) keep(t *testing.T, what string, rec stream.Recording) {
	t.Helper()
	i := x.ses.Info()
	r := Recorded{Backend: i.Backend, Version: i.Version, Build: i.Build, Model: i.Model.Name, Date: time.Now().UTC().Format("2006-01-02"), What: what, Recording: rec}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	if s := drivers.CapsOf(x.ses).Secrets; s != nil {
		secrets = s.Secrets()
	}
	for _, s := range append(secrets, getenv("LLM_SPEED_API_KEY")) {
		if s != "" && strings.Contains(string(rec.Data)+string(b), s) {
			t.Fatalf("%s: the recording holds a secret or a folder of this machine; it is not kept", what)
		}
	}
	if err := os.MkdirAll(recordedDir, 0o750); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`[^A-Za-z0-9.-]+`).ReplaceAllString(i.Version+"-"+what, "_")
	if err := os.WriteFile(filepath.Join(recordedDir, name+".json"), append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// CheckRecorded decodes the recordings that RunLive has kept: those that were complete give text, a finish reason and counts,
// and the others an error.
func CheckRecorded(t *testing.T, decode func(stream.Recording) (stream.Transcript, error)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(recordedDir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", recordedDir, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file) //nolint:gosec // the path is the test's own
		if err != nil {
			t.Fatal(err)
		}
		var r Recorded
		if err := json.Unmarshal(b, &r); err != nil || r.Version == "" || r.Date == "" || len(r.Recording.Data) == 0 {
			t.Errorf("%s says not what it is: %v", file, err)
			continue
		}
		tr, err := decode(r.Recording)
		if r.Recording.Outcome != stream.Complete {
			if err == nil {
				t.Errorf("%s: a stream that was left decodes well", file)
			}
			continue
		}
		if err != nil || tr.Finish == "" || !tr.Counts.Output.Known() || len(tr.Disagree) > 0 {
			t.Errorf("%s: %v, finish %q, counts %+v, disagree %v", file, err, tr.Finish, tr.Counts, tr.Disagree)
		}
	}
}

// CheckFixtures looks through a folder of fixtures: a file that is no recording of a real server and no golden file is named
// synthetic_… and says in a comment at its beginning which document its shape comes from: "synthetic: written from …".
func CheckFixtures(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name := ""
		if d != nil {
			name = d.Name()
		}
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "recorded" || name == "standin" || name == "fuzz"):
			return filepath.SkipDir
		case d.IsDir(), strings.HasPrefix(name, "request"), strings.HasSuffix(name, ".golden"), strings.Contains(name, ".golden."):
			return nil
		case !strings.HasPrefix(name, "synthetic_"):
			t.Errorf("%s is neither recorded, nor a golden file, nor named synthetic_", path)
			return nil
		}
		b, err := os.ReadFile(path) //nolint:gosec // the path is the test's own
		if err != nil {
			return err
		}
		if !namesSource.Match(b[:min(len(b), 600)]) {
			t.Errorf("%s does not name its source: want \"synthetic: written from DOCUMENT\" in a comment at its beginning", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

var namesSource = regexp.MustCompile(`(?i)synthetic[;:] \S.{20,}`)

// checkFixtures is CheckFixtures on the driver's own folder, where it has one.
func checkFixtures(t *testing.T, _ *Suite) {
	if _, err := os.Stat("testdata"); err == nil {
		CheckFixtures(t, "testdata")
	}
}
