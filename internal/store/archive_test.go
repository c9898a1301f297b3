package store

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

const exportedID = "20261123-142501-k3f9"

func material(id string) seal.Material {
	return seal.Derived(func(salt, info string) [32]byte { return sha256.Sum256([]byte(salt + info)) }, id)
}

// sealedRun saves a run with two files of recordings and its seal.
func sealedRun(t testing.TB, s *Store, id string) {
	t.Helper()
	r, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	res := result(id)
	res.State, res.FP = record.Complete, strings.Repeat("ab", 32)
	for pass := 1; pass <= 2; pass++ {
		f, err := r.SaveRaw("W1", pass, recordings())
		if err != nil {
			t.Fatal(err)
		}
		res.Raw = append(res.Raw, f)
	}
	if err := r.Save(res); err != nil {
		t.Fatal(err)
	}
	doc, err := r.Document()
	if err != nil {
		t.Fatal(err)
	}
	e, err := seal.Run(doc, material(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SaveFile(SealFile, e.Encode()); err != nil {
		t.Fatal(err)
	}
}

func exported(t testing.TB, s *Store, bare bool, ids ...string) []byte {
	t.Helper()
	e, err := s.Export(ids, bare)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openIn(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// empty fails where anything of an import is left.
func empty(t *testing.T, s *Store, what string) {
	t.Helper()
	entries, err := os.ReadDir(s.runs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s: %s is left", what, e.Name())
	}
}

// Seal, export, import, and export again: the same bytes; the seal and the recordings hold on the other side too.
func TestExportImport(t *testing.T) {
	here, there := openIn(t), openIn(t)
	const second = "20261124-090000-aaaa"
	sealedRun(t, here, exportedID)
	sealedRun(t, here, second)
	first := exported(t, here, false, exportedID, second)
	list, err := there.Import(bytes.NewReader(first))
	if err != nil || len(list) != 2 || list[0].Known || list[0].Seal == "" {
		t.Fatalf("%+v, %v", list, err)
	}
	if again := exported(t, there, false, exportedID, second); !bytes.Equal(first, again) {
		t.Error("the export of the imported runs has other bytes")
	}
	saved, err := there.Load(exportedID)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := saved.CheckFiles(); err != nil || n != 2 {
		t.Errorf("%d files, %v", n, err)
	}
	if mark := saved.Imported(); mark == nil || mark.Archive == "" || mark.At.IsZero() || mark.Seal != list[0].Seal {
		t.Errorf("mark %+v", mark)
	}
	if own, err := here.Load(exportedID); err != nil || own.Imported() != nil {
		t.Errorf("a run of this machine is marked: %v", err)
	}
	if recs, err := saved.LoadRaw(saved.Result.Raw[1]); err != nil || len(recs) != len(recordings()) {
		t.Errorf("%d recordings, %v", len(recs), err)
	}
	list, err = there.Import(bytes.NewReader(first))
	if err != nil || len(list) != 2 || !list[0].Known || !list[1].Known {
		t.Errorf("once more: %+v, %v", list, err)
	}
	runs, err := there.Summaries()
	if err != nil || len(runs) != 2 || !runs[0].Summary.Imported {
		t.Errorf("%+v, %v", runs, err)
	}
	// Without recordings it is a run all the same.
	bare := openIn(t)
	if _, err := bare.Import(bytes.NewReader(exported(t, here, true, exportedID))); err != nil {
		t.Fatal(err)
	}
	if saved, err = bare.Load(exportedID); err != nil {
		t.Fatal(err)
	}
	if _, err := saved.CheckFiles(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("recordings that are not there: %v", err)
	}
}

// A flipped bit in any byte of an archive is found, nothing is imported, and nothing is left.
func TestEveryByteCounts(t *testing.T) {
	here, there := openIn(t), openIn(t)
	sealedRun(t, here, exportedID)
	good := exported(t, here, false, exportedID)
	step := 1
	if testing.Short() {
		step = 97
	}
	for at := 0; at < len(good); at += step {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if runs, err := Inspect(bytes.NewReader(bad)); err == nil {
			t.Fatalf("byte %d of %d was changed, and %d runs are good", at, len(good), len(runs))
		}
		if at%1009 == 0 {
			if _, err := there.Import(bytes.NewReader(bad)); err == nil {
				t.Fatalf("byte %d was changed, and it was imported", at)
			}
		}
	}
	for _, n := range []int{0, 1, 511, 512, 1024, len(good) / 2, len(good) - 1024, len(good) - 1} {
		if _, err := there.Import(bytes.NewReader(good[:n])); err == nil {
			t.Errorf("cut off after %d of %d bytes, and it was imported", n, len(good))
		}
	}
	if _, err := there.Import(bytes.NewReader(append(bytes.Clone(good), 'x'))); err == nil {
		t.Error("a byte follows, and it was imported")
	}
	empty(t, there, "after bad archives")
}

// packed is an archive as somebody else might make it.
func packed(t *testing.T, files ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range files {
		text := []byte(h.Linkname)
		if h.Typeflag == tar.TypeReg {
			h.Linkname, h.Size = "", int64(len(text))
		}
		if h.Format == 0 {
			h.Format = tar.FormatUSTAR
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	hash := strings.Repeat("0", 64)
	index := func(text string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: "export.json", Linkname: text + "\n"}
	}
	listing := func(files string) string {
		return `{"schema":"llm-speed/export/v1","runs":[{"run_id":"` + exportedID + `","files":[` + files + `]}]}`
	}
	file := func(name string, bytes string) string {
		return `{"path":"` + name + `","sha256":"` + hash + `","bytes":` + bytes + `}`
	}
	doc := file("result.json", "2")
	for name, c := range map[string]struct {
		files []tar.Header
		why   string
	}{
		"no archive of ours":        {[]tar.Header{{Typeflag: tar.TypeReg, Name: "a", Linkname: "b"}}, "does not begin with export.json"},
		"a link for a list":         {[]tar.Header{{Typeflag: tar.TypeSymlink, Name: "export.json", Linkname: "/etc/passwd"}}, "does not begin with export.json"},
		"another schema":            {[]tar.Header{index(`{"schema":"llm-speed/export/v9","runs":[]}`)}, "newer llm-speed"},
		"no run":                    {[]tar.Header{index(`{"schema":"llm-speed/export/v1","runs":[]}`)}, "0 runs"},
		"a key twice":               {[]tar.Header{index(`{"schema":"llm-speed/export/v1","schema":"llm-speed/export/v1","runs":[]}`)}, "twice"},
		"an unknown key":            {[]tar.Header{index(`{"schema":"llm-speed/export/v1","runs":[],"x":1}`)}, "unknown"},
		"an id that climbs":         {[]tar.Header{index(`{"schema":"llm-speed/export/v1","runs":[{"run_id":"../x","files":[` + doc + `]}]}`)}, "run id"},
		"a name that climbs":        {[]tar.Header{index(listing(doc + "," + file("raw/../../x.json.gz", "2")))}, "a run has no file"},
		"an absolute name":          {[]tar.Header{index(listing(doc + "," + file("/tmp/x.json.gz", "2")))}, "a run has no file"},
		"a name with a backslash":   {[]tar.Header{index(listing(doc + "," + file(`raw\\\\x.json.gz`, "2")))}, "a run has no file"},
		"names of one case":         {[]tar.Header{index(listing(doc + "," + file("raw/a.json.gz", "2") + "," + file("raw/A.json.gz", "2")))}, "twice"},
		"the seal not second":       {[]tar.Header{index(listing(doc + "," + file("raw/a.json.gz", "2") + "," + file("seal.json", "2")))}, "a run has no file"},
		"a mark of its own":         {[]tar.Header{index(listing(doc + "," + file("imported.json", "2")))}, "a run has no file"},
		"a file of all the disk":    {[]tar.Header{index(listing(file("result.json", "9007199254740991")))}, "the most is"},
		"a negative size":           {[]tar.Header{index(listing(file("result.json", "-2")))}, "the most is"},
		"another file in its place": {[]tar.Header{index(listing(doc)), {Typeflag: tar.TypeReg, Name: "x", Linkname: "{}"}}, "in its place is"},
		"a link in its place":       {[]tar.Header{index(listing(doc)), {Typeflag: tar.TypeSymlink, Name: exportedID + "/result.json", Linkname: "/etc/passwd"}}, "no plain file"},
		"a hard link":               {[]tar.Header{index(listing(doc)), {Typeflag: tar.TypeLink, Name: exportedID + "/result.json", Linkname: "/etc/passwd"}}, "no plain file"},
		"another hash":              {[]tar.Header{index(listing(doc)), {Typeflag: tar.TypeReg, Name: exportedID + "/result.json", Linkname: "{}"}}, "the file was changed"},
		"nothing after the list":    {[]tar.Header{index(listing(doc))}, "cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openIn(t)
			_, err := s.Import(bytes.NewReader(packed(t, c.files...)))
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, want %q", err, c.why)
			}
			empty(t, s, name)
		})
	}
}

// Another run under the same id is a conflict, and none of the archive is taken.
func TestImportConflict(t *testing.T) {
	here, there := openIn(t), openIn(t)
	const second = "20261124-090000-aaaa"
	sealedRun(t, here, exportedID)
	sealedRun(t, here, second)
	r, err := there.Create(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Save(result(second)), r.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = there.Import(bytes.NewReader(exported(t, here, false, exportedID, second)))
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "nothing was imported") {
		t.Errorf("%v", err)
	}
	if _, err := there.Load(exportedID); !errors.Is(err, ErrNotFound) {
		t.Errorf("half of the archive is here: %v", err)
	}
}

// A run that was changed after it was sealed, or whose recordings were, is not exported.
func TestExportOfAChangedRun(t *testing.T) {
	for name, change := range map[string]func(dir string) string{
		"result":     func(dir string) string { return filepath.Join(dir, "result.json") },
		"recordings": func(dir string) string { return filepath.Join(dir, "raw", "W1.1.json.gz") },
		"seal":       func(dir string) string { return filepath.Join(dir, SealFile) },
	} {
		s := openIn(t)
		sealedRun(t, s, exportedID)
		path := change(s.runDir(exportedID))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, ' '), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Export([]string{exportedID}, false); err == nil {
			t.Errorf("%s: it was exported", name)
		}
	}
}

// Several imports of one archive at once: the run is here once and whole.
func TestImportsAtOnce(t *testing.T) {
	here, there := openIn(t), openIn(t)
	sealedRun(t, here, exportedID)
	archive := exported(t, here, false, exportedID)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = there.Import(bytes.NewReader(archive)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	saved, err := there.Load(exportedID)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := saved.CheckFiles(); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if entries, err := os.ReadDir(there.runs()); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A folder that can't be written to, and a stream that breaks: an error that says so, and nothing half-written.
func TestImportThatFails(t *testing.T) {
	here, there := openIn(t), openIn(t)
	sealedRun(t, here, exportedID)
	archive := exported(t, here, false, exportedID)
	broken := io.MultiReader(bytes.NewReader(archive[:len(archive)-2048]), failing{})
	if _, err := there.Import(broken); err == nil || !strings.Contains(err.Error(), "the cable") {
		t.Errorf("%v", err)
	}
	empty(t, there, "after a broken stream")
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		return // there no folder refuses
	}
	if err := os.Chmod(there.runs(), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(there.runs(), 0o700) })
	if _, err := there.Import(bytes.NewReader(archive)); err == nil {
		t.Error("a read-only folder took it")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the cable was pulled") }

// FuzzImport: no archive makes a run whose files are not those that its document names.
func FuzzImport(f *testing.F) {
	here := openIn(f)
	sealedRun(f, here, exportedID)
	f.Add(exported(f, here, false, exportedID))
	f.Add(exported(f, here, true, exportedID))
	f.Add([]byte("export.json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		runs, err := Inspect(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, r := range runs {
			res, err := Parse(r.Document)
			if err != nil || res.RunID != r.RunID || checkID(r.RunID) != nil {
				t.Errorf("run %q: %v", r.RunID, err)
			}
			sum := sha256.Sum256(r.Document)
			if r.Seal != nil && !strings.Contains(string(b), hex.EncodeToString(sum[:])) {
				t.Error("a sealed document whose hash is nowhere in the archive")
			}
		}
	})
}
