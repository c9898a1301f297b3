package store

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSaveSeries(t *testing.T) {
	st, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run, err := st.Create(NewRunID(time.Now(), 1))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"state.1.json.gz", "state.2.json.gz"} {
		f, err := run.SaveSeries(map[string]int{"n": n})
		if err != nil || f.Path != want {
			t.Fatalf("%+v %v", f, err)
		}
		b, err := os.ReadFile(filepath.Join(run.Dir(), f.Path))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(b)) != f.Bytes {
			t.Errorf("%+v does not describe the file", f)
		}
		in, err := os.Open(filepath.Join(run.Dir(), f.Path))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		zip, err := gzip.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]int
		if err := json.NewDecoder(zip).Decode(&got); err != nil || got["n"] != n {
			t.Errorf("%v %v", got, err)
		}
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := run.SaveSeries(1); err == nil {
		t.Error("a closed run takes a series")
	}
}
