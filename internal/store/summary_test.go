package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/internal/record"
)

// saved makes a finished run whose document is old enough for the index.
func saved(t testing.TB, s *Store, id string, change func(*record.Result)) string {
	t.Helper()
	r, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	res := result(id)
	res.State, res.Backend.Name, res.Model.Ref = record.Complete, "llama.cpp", "m.gguf"
	if change != nil {
		change(res)
	}
	if err := errors.Join(r.Save(res), r.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir(), resultName)
	age(t, path, time.Hour)
	return path
}

func age(t testing.TB, path string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func summaries(t testing.TB, s *Store) []Listed {
	t.Helper()
	list, err := s.Summaries()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSummary(t *testing.T) {
	s := open(t)
	if list := summaries(t, s); len(list) != 0 {
		t.Errorf("an absent folder lists %v", list)
	}
	saved(t, s, "20261123-142501-k3f9", func(r *record.Result) {
		r.Mode, r.Suite.Name, r.Suite.Version, r.Model.Name, r.Model.Quant, r.Rankable = "full", "suite-v1", "1.0.0", "m", "Q4_K_M", true
		r.Rows = []record.Row{
			{ID: "W1", Workload: "chat", Status: record.OK}, {ID: "W4", Workload: "batch", Status: record.Skipped},
			{ID: "W4", Workload: "batch", Status: record.Failed, Flags: []record.Flag{{Name: "simulated"}}},
		}
	})
	want := Summary{
		RunID: "20261123-142501-k3f9", Started: time.Date(2026, 11, 23, 14, 25, 1, 0, time.UTC), State: record.Complete, Mode: "full",
		Suite: "suite-v1", Version: "1.0.0", Backend: "llama.cpp", Model: "m", Quant: "Q4_K_M", Rankable: true, Simulated: true, OK: 1, Skipped: 1, Failed: 1,
		Workloads: []Workload{{"W1", "chat"}, {"W4", "batch"}},
	}
	for _, from := range []string{"document", "index"} {
		if diff := cmp.Diff([]Listed{{ID: want.RunID, Summary: want}}, summaries(t, s)); diff != "" {
			t.Errorf("from the %s (-want +got):\n%s", from, diff)
		}
	}
}

// The index never shows what is not so any more, and what is wrong with it spoils no list.
func TestIndex(t *testing.T) {
	s := open(t)
	const a, b = "20261121-080000-aaaa", "20261122-080000-aaaa"
	path := saved(t, s, a, nil)
	saved(t, s, b, nil)
	models := func() string {
		var out []string
		for _, l := range summaries(t, s) {
			switch {
			case l.Err != nil:
				out = append(out, l.ID[6:8]+" damaged")
			default:
				out = append(out, l.ID[6:8]+" "+l.Summary.Model)
			}
		}
		return strings.Join(out, ", ")
	}
	check := func(what, want string) {
		t.Helper()
		for range 2 {
			if got := models(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
	}
	check("two runs", "22 m.gguf, 21 m.gguf")
	at := filepath.Join(s.Dir(), indexName)
	if x := s.readIndex(); len(x.Runs) != 2 {
		t.Fatalf("the index has %d runs", len(x.Runs))
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "m.gguf", "n.gguf", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a document of the same size that was just written", "22 m.gguf, 21 n.gguf")
	if _, in := s.readIndex().Runs[a]; in {
		t.Error("a document that may be written again in the same moment is in the index")
	}
	age(t, path, time.Minute)
	check("the same, later", "22 m.gguf, 21 n.gguf")

	if err := os.WriteFile(path, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	check("a damaged one", "22 m.gguf, 21 damaged")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, path, time.Hour)
	for _, bad := range []string{"", "{", "null", "[]", `{"schema":"llm-speed/index/v9","runs":{"` + a + `":{"size":1}}}`, `{"schema":"llm-speed/index/v1","runs":{"` + a + `":7}}`, `{"schema":"llm-speed/index/v1","runs":{"../x":{}}}`} {
		if err := os.WriteFile(at, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("an index of %q", bad), "22 m.gguf, 21 m.gguf")
	}
	if err := s.Remove(b); err != nil {
		t.Fatal(err)
	}
	check("one removed", "21 m.gguf")
	if x := s.readIndex(); len(x.Runs) != 1 {
		t.Errorf("the index has %d runs", len(x.Runs))
	}
	if runtime.GOOS != "windows" && os.Geteuid() != 0 {
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.Dir(), 0o500); err != nil {
			t.Fatal(err)
		}
		check("a folder that is read-only", "21 m.gguf")
		if err := os.Chmod(s.Dir(), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemove(t *testing.T) {
	s := open(t)
	const id, other = "20261121-080000-aaaa", "20261122-080000-aaaa"
	saved(t, s, other, nil)
	r := create(t, s, id)
	if _, err := r.SaveRaw("W1", 1, recordings()); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(id); !errors.Is(err, ErrBusy) {
		t.Errorf("a run that is being written: %v, want ErrBusy", err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir(), "raw", "W1.1.json.gz")); err != nil {
		t.Errorf("something of it is gone: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// What an earlier removal has left goes too, and nothing else does.
	left := filepath.Join(s.runs(), removedPrefix+"20261101-080000-aaaa")
	stray := filepath.Join(s.runs(), removedPrefix+"notes")
	for _, dir := range []string{left, stray} {
		if err := os.MkdirAll(filepath.Join(dir, "raw"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(id); err != nil { // it has no document: a damaged run can be removed
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.runs())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{removedPrefix + "notes", other}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{id, "last", "..", "", "../runs", other + "/.."} {
		if err := s.Remove(bad); err == nil {
			t.Errorf("Remove(%q) went through", bad)
		}
	}
	if err := s.Remove(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestCloseIDs(t *testing.T) {
	s := open(t)
	ids := []string{"20261121-080000-aaaa", "20261122-080000-bbbb", "20261123-080000-cccc"}
	for _, id := range ids {
		saved(t, s, id, nil)
	}
	for ref, want := range map[string]string{
		"20261122-080000-bbbc":  "close to it: 20261122-080000-bbbb",
		"20261122-080000-bbb8x": "close to it: 20261122-080000-bbbb",
		"20261122-090":          "close to it: 20261122-080000-bbbb 20261123-080000-cccc 20261121-080000-aaaa",
		"2025":                  "`llm-speed runs` lists them",
		"nosuch.json":           "`llm-speed runs` lists them",
		strings.Repeat("2", 99): "`llm-speed runs` lists them",
	} {
		_, err := s.Find(ref)
		if !errors.Is(err, ErrNotFound) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", ref, err, want)
		}
	}
}

// manyRuns makes n runs with documents of the usual shape.
func manyRuns(tb testing.TB, n int) *Store {
	tb.Helper()
	s, err := Open(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		res := result(NewRunID(begin.Add(time.Duration(i)*time.Minute), uint32(i)))
		res.State, res.Backend.Name, res.Model.Name, res.Suite.Name, res.Mode = record.Complete, "llama.cpp", "Llama-3.1-8B-Instruct", "suite-v1", "full"
		res.Rows = nil
		for w := range 10 {
			res.Rows = append(res.Rows, record.Row{ID: fmt.Sprint("W", w/2+1), Workload: "agent-trace", Key: fmt.Sprint("W", w), Status: record.OK})
		}
		text, err := json.Marshal(res)
		if err != nil {
			tb.Fatal(err)
		}
		dir := s.runDir(res.RunID)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			tb.Fatal(err)
		}
		path := filepath.Join(dir, resultName)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			tb.Fatal(err)
		}
		age(tb, path, time.Hour)
	}
	return s
}

// BenchmarkSummaries lists 10,000 runs: what a user waits for, and the first time, without an index.
func BenchmarkSummaries(b *testing.B) {
	s := manyRuns(b, 10_000)
	for _, c := range []struct {
		name string
		cold bool
	}{{"first", true}, {"again", false}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if c.cold {
					b.StopTimer()
					_ = os.Remove(filepath.Join(s.Dir(), indexName))
					b.StartTimer()
				}
				if list := summaries(b, s); len(list) != 10_000 || list[9_999].Err != nil {
					b.Fatal("not all of them")
				}
			}
		})
	}
}
