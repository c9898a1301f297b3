package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// create makes a run and closes it with the test.
func create(t *testing.T, s *Store, id string) *Run {
	t.Helper()
	r, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func result(id string) *record.Result {
	ttft := 123.456
	return &record.Result{
		Schema: record.Schema, RunID: id, StartedAt: time.Date(2026, 11, 23, 14, 25, 1, 0, time.UTC), State: record.Running,
		Seed: "00000000deadbeef", Rows: []record.Row{{ID: "W1", Key: "W1", Status: record.OK, TTFTms: &ttft}},
	}
}

func TestDefaultDir(t *testing.T) {
	abs := filepath.Join(t.TempDir(), "x")
	for _, c := range []struct {
		name string
		env  map[string]string
		goos string
		home string
		want string
	}{
		{"own variable first", map[string]string{"LLM_SPEED_DATA": "d", "XDG_DATA_HOME": abs}, "linux", "/home/u", "d"},
		{"xdg", map[string]string{"XDG_DATA_HOME": abs}, "linux", "/home/u", filepath.Join(abs, "llm-speed")},
		{"relative xdg is void", map[string]string{"XDG_DATA_HOME": "x"}, "linux", "/home/u", filepath.FromSlash("/home/u/.local/share/llm-speed")},
		{"linux", nil, "linux", "/home/u", filepath.FromSlash("/home/u/.local/share/llm-speed")},
		{"macos", nil, "darwin", "/Users/u", filepath.FromSlash("/Users/u/Library/Application Support/llm-speed")},
		{"windows", map[string]string{"LocalAppData": abs, "XDG_DATA_HOME": "/y"}, "windows", "/u", filepath.Join(abs, "llm-speed")},
		{"windows without variable", nil, "windows", "/u", filepath.FromSlash("/u/AppData/Local/llm-speed")},
		{"nothing known", nil, "linux", "", ""},
	} {
		got, err := DefaultDir(func(k string) string { return c.env[k] }, c.goos, c.home)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestNewRunID(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 25, 1, 0, time.FixedZone("CET", 3600))
	if got, want := NewRunID(at, 0), "20261123-142501-0000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string]bool{}
	for i := range uint32(1000) {
		id := NewRunID(at, i*2654435761)
		if err := checkID(id); err != nil {
			t.Fatal(err)
		}
		seen[id] = true
	}
	if len(seen) < 990 {
		t.Errorf("only %d ids of 1000 differ", len(seen))
	}
	if a, b := NewRunID(at, ^uint32(0)), NewRunID(at.Add(time.Second), 0); a >= b {
		t.Errorf("%s does not sort before %s", a, b)
	}
}

func TestBadIDs(t *testing.T) {
	s := open(t)
	for _, id := range []string{"", "last", "../20261123-142501-0000", "20261123-142501-0000/x", `20261123\x`, "20261123-142501-K3F9", "con-12345678", strings.Repeat("2", 65)} {
		if r, err := s.Create(id); err == nil {
			r.Close()
			t.Errorf("Create(%q) went through", id)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261123-142501-k3f9")
	want := result(r.ID())
	if err := r.Save(want); err != nil {
		t.Fatal(err)
	}
	want.State, want.Rows[0].Reason = record.Complete, "<&>"
	if err := r.Save(want); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir(), "result.json")
	for _, ref := range []string{"20261123-142501-k3f9", "20261123-14", "last", "last~0", path, r.Dir()} {
		got, err := s.Load(ref)
		if err != nil {
			t.Fatalf("Load(%s): %v", ref, err)
		}
		if diff := cmp.Diff(want, got.Result); diff != "" {
			t.Errorf("Load(%s) (-want +got):\n%s", ref, diff)
		}
		if got.Path != path || got.Dir != r.Dir() {
			t.Errorf("Load(%s) is at %s, %s", ref, got.Path, got.Dir)
		}
	}
	if runtime.GOOS != "windows" {
		for p, want := range map[string]os.FileMode{r.Dir(): 0o700 | os.ModeDir, s.Dir(): 0o700 | os.ModeDir, path: 0o600, filepath.Join(r.Dir(), "lock"): 0o600} {
			if info, err := os.Stat(p); err != nil || info.Mode() != want {
				t.Errorf("%s has mode %v, want %v (%v)", p, info.Mode(), want, err)
			}
		}
	}
}

func TestSaveRefusesAnotherRun(t *testing.T) {
	r := create(t, open(t), "20261123-142501-k3f9")
	if err := r.Save(result("20261123-142501-xxxx")); err == nil {
		t.Error("a result of another run was saved")
	}
	r.Close()
	if err := r.Save(result(r.ID())); err == nil {
		t.Error("a closed run was saved")
	}
}

func TestCreateTwice(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261123-142501-k3f9")
	r.Close()
	if _, err := s.Create(r.ID()); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("got %v", err)
	}
}

func TestReferences(t *testing.T) {
	s := open(t)
	ids := []string{"20261121-080000-aaaa", "20261122-080000-aaaa", "20261123-080000-aaaa", "20261123-090000-aaaa"}
	for _, id := range ids {
		r := create(t, s, id)
		if err := r.Save(result(id)); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	for _, c := range []struct{ ref, want string }{
		{"last", ids[3]}, {"last~1", ids[2]}, {"last~3", ids[0]}, {"20261122", ids[1]}, {ids[2], ids[2]},
		{"last~4", "no such run"}, {"last~x", "want last or last~N"}, {"last~-1", "want last or last~N"},
		{"20261123", "begins 2 runs: 20261123-090000-aaaa 20261123-080000-aaaa"}, {"2025", "no such run"}, {"", "no such run"},
	} {
		got, err := s.Load(c.ref)
		switch {
		case err == nil && got.Result.RunID != c.want:
			t.Errorf("Load(%q) = %s, want %s", c.ref, got.Result.RunID, c.want)
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("Load(%q): got %v, want %s", c.ref, err, c.want)
		}
	}
	if _, err := s.Load("2025"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestListShowsDamagedRuns(t *testing.T) {
	s := open(t)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("an absent directory lists %v, %v", list, err)
	}
	for id, content := range map[string]string{
		"20261121-080000-aaaa": "", // never saved
		"20261122-080000-aaaa": `{"schema":"llm-speed/result/v1","state":"comp`,
		"20261123-080000-aaaa": `{"schema":"llm-speed/result/v9"}`,
		"20261124-080000-aaaa": `{"schema":"llm-speed/result/v1","state":"complete","run_id":"20261124-080000-aaaa"}`,
	} {
		r := create(t, s, id)
		if content != "" {
			if err := os.WriteFile(filepath.Join(r.Dir(), "result.json"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
	}
	for _, stray := range []string{"notes", ".DS_Store"} {
		if err := os.Mkdir(filepath.Join(s.Dir(), "runs", stray), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		switch {
		case e.Err != nil && e.Result == nil:
			got = append(got, e.ID[:8]+" "+e.Err.Error()[strings.LastIndex(e.Err.Error(), ": ")+2:])
		case e.Result != nil:
			got = append(got, e.ID[:8]+" "+string(e.Result.State))
		}
	}
	want := []string{"20261124 complete", `20261123 update it`, "20261122 the document was cut off", "20261121 no result.json"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A run that measured nothing leaves nothing behind; one with recordings can't be thrown away.
func TestDiscard(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261121-080000-aaaa")
	if err := r.Save(&record.Result{Schema: record.Schema, RunID: r.ID(), State: record.Partial}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Discard(), r.Discard()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if _, err := s.Load("last"); !errors.Is(err, ErrNotFound) {
		t.Errorf("last = %v", err)
	}
	r = create(t, s, "20261122-080000-aaaa")
	if _, err := r.SaveRaw("W1", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Discard(); err == nil {
		t.Error("a run with recordings was thrown away")
	}
	if _, err := os.Stat(r.Dir()); err != nil {
		t.Error(err)
	}
}

// A document that was copied elsewhere finds the raw files of its run by its id.
func TestLoadCopiedDocument(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261121-080000-aaaa")
	file, err := r.SaveRaw("W1", 1, []stream.Recording{{Send: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Save(&record.Result{Schema: record.Schema, RunID: r.ID(), State: record.Complete}), r.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.Dir(), "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "copy.json")
	if err := os.WriteFile(elsewhere, text, 0o600); err != nil {
		t.Fatal(err)
	}
	saved, err := s.Load(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if recs, err := saved.LoadRaw(file); err != nil || len(recs) != 1 {
		t.Errorf("raw files of the copy: %d recordings, %v", len(recs), err)
	}
	saved, err = open(t).Load(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := saved.LoadRaw(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("on another machine: %v, want one that is os.ErrNotExist", err)
	}
}

func TestInterruptedWriteKeepsTheOldFile(t *testing.T) {
	r := create(t, open(t), "20261123-142501-k3f9")
	if err := r.Save(result(r.ID())); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir(), "result.json")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	err = replace(path, func(w io.Writer) error {
		if _, err := w.Write([]byte(`{"half":`)); err != nil {
			t.Fatal(err)
		}
		return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
	})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "LLM_SPEED_DATA") {
		t.Errorf("got %v", err)
	}
	if runtime.GOOS != "windows" && !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("a full disk is not named: %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old result is gone: %v", err)
	}
	if entries, _ := os.ReadDir(r.Dir()); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestFailedRenameLeavesNoTemporaryFile(t *testing.T) {
	r := create(t, open(t), "20261123-142501-k3f9")
	if err := os.MkdirAll(filepath.Join(r.Dir(), "result.json", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(result(r.ID())); err == nil || strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(r.Dir()); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func recordings() []stream.Recording {
	return []stream.Recording{
		{Protocol: "openai-sse", Status: 200, Data: []byte("data: {\"x\":\"\xff\"}\r\n\n"), Reads: []stream.Read{{End: 5, At: 1}, {End: 22, At: 2}}, Send: 7, Outcome: stream.Complete},
		{Protocol: "openai-sse", Outcome: stream.Cut, Fault: "connection reset"},
	}
}

func TestRawRoundTrip(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261123-142501-k3f9")
	want := recordings()
	file, err := r.SaveRaw("W1", 1, want)
	if err != nil {
		t.Fatal(err)
	}
	if file.Path != "raw/W1.1.json.gz" {
		t.Errorf("path %s", file.Path)
	}
	if err := r.Save(result(r.ID())); err != nil {
		t.Fatal(err)
	}
	saved, err := s.Load("last")
	if err != nil {
		t.Fatal(err)
	}
	got, err := saved.LoadRaw(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again, err := r.SaveRaw("W1", 1, want)
	if err != nil || again != file {
		t.Errorf("the same recordings give another file: %v, %v", again, err)
	}

	full := filepath.Join(r.Dir(), "raw", "W1.1.json.gz")
	data, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != file.Bytes {
		t.Errorf("%d bytes, the result says %d", len(data), file.Bytes)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(full, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := saved.LoadRaw(file); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("a changed file: got %v", err)
	}
}

func TestRawStaysInTheRunsFolder(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261123-142501-k3f9")
	outside := create(t, s, "20261123-142502-k3f9")
	file, err := outside.SaveRaw("W1", 1, recordings())
	if err != nil {
		t.Fatal(err)
	}
	saved := &Saved{Dir: r.Dir()}
	for _, path := range []string{"../20261123-142502-k3f9/raw/W1.1.json.gz", filepath.ToSlash(filepath.Join(outside.Dir(), "raw", "W1.1.json.gz")), ".", "", "lock"} {
		file.Path = path
		if _, err := saved.LoadRaw(file); err == nil {
			t.Errorf("%q was read", path)
		}
	}
}

func TestSafeNames(t *testing.T) {
	seen := map[string]string{}
	for _, key := range []string{
		"W1", "w1", "W4/batch=8", "W4/batch=16", "W4-batch=8", "W4_batch=8", "a/b", "a:b", "a*b", "a?b", "CON", "con", "COM1", "LPT9", "NUL", "AUX", "",
		"..", ".", "ü", "Ü", "日本", strings.Repeat("long", 200), strings.Repeat("long", 201), "W1 ", "W1.", "-", "\x00",
	} {
		name := safeName(key)
		lower := strings.ToLower(name)
		if other, ok := seen[lower]; ok {
			t.Errorf("%q and %q meet in %s", key, other, name)
		}
		seen[lower] = key
		if name == "" || len(name) > 80 || strings.ContainsAny(name, "/\\:*?\"<>|. \x00") || reserved(strings.ToUpper(name)) {
			t.Errorf("%q gives %q", key, name)
		}
	}
	if got := safeName("W3"); got != "W3" {
		t.Errorf("W3 gives %s", got)
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261123-142501-k3f9")
	if err := r.Save(result(r.ID())); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Resume("last"); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again, res, err := s.Resume("last")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if res.RunID != r.ID() {
		t.Errorf("resumed %s", res.RunID)
	}
}

func TestResumeOfADamagedRunUnlocksIt(t *testing.T) {
	s := open(t)
	r := create(t, s, "20261123-142501-k3f9")
	r.Close()
	for range 2 {
		if _, _, err := s.Resume("last"); err == nil || errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
	}
}

// TestKilledProcessGivesTheRunFree holds a run in another process, kills it and goes on with the run.
func TestKilledProcessGivesTheRunFree(t *testing.T) {
	const dirVar = "STORE_TEST_HOLD"
	if dir := os.Getenv(dirVar); dir != "" {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := create(t, s, "20261123-142501-k3f9")
		if err := r.Save(result(r.ID())); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.Dir(), tempPrefix+"1"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Println("held")
		time.Sleep(time.Minute)
		return
	}
	s := open(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestKilledProcessGivesTheRunFree$")
	cmd.Env = append(os.Environ(), dirVar+"="+s.Dir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(out, buf); err != nil || string(buf) != "held" {
		t.Fatalf("the child said %q, %v", buf, err)
	}
	if _, _, err := s.Resume("last"); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is held: got %v, want ErrBusy", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	r, res, err := s.Resume("last")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if res.State != record.Running {
		t.Errorf("state %s", res.State)
	}
	if _, err := os.Stat(filepath.Join(r.Dir(), tempPrefix+"1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half-written file is still there: %v", err)
	}
}

// FuzzParse: any bytes give a result that can be written again, or an error, never a panic.
func FuzzParse(f *testing.F) {
	good, err := json.Marshal(result("20261123-142501-k3f9"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "null", "[]", `{"schema":"llm-speed/result/v1"}`, `{"schema":"llm-speed/result/v1","state":"partial","results":[null,{"point":{"a":[1e999]}}]}`, `{"schema":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		res, err := Parse(data)
		if (res == nil) == (err == nil) {
			t.Fatalf("got %v, %v", res, err)
		}
		if err != nil {
			return
		}
		if _, err := json.Marshal(res); err != nil {
			t.Errorf("parsed, but can't be written: %v", err)
		}
	})
}

// FuzzParseRaw: any bytes give recordings or an error, never a panic.
func FuzzParseRaw(f *testing.F) {
	s, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	r, err := s.Create("20261123-142501-k3f9")
	if err != nil {
		f.Fatal(err)
	}
	defer r.Close()
	file, err := r.SaveRaw("W1", 1, recordings())
	if err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(r.Dir(), filepath.FromSlash(file.Path)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if recs, err := parseRaw(data); err != nil && recs != nil {
			t.Errorf("got %d recordings and %v", len(recs), err)
		}
	})
}
