package suite

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPackAndUnpack(t *testing.T) {
	s, err := Load(t.Context(), suiteFS(t, "", "", map[string]string{"data/x.txt": "x", "lib/b.star": "y = 1\n"}), InProcess)
	if err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	if err := Pack(&one, s); err != nil {
		t.Fatal(err)
	}
	if err := Pack(&two, s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two archives of one suite differ")
	}
	back, err := Unpack(bytes.NewReader(one.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Files.(files), back.(files)); d != "" {
		t.Error(d)
	}
	again, err := Load(t.Context(), back, InProcess)
	if err != nil || again.Digest != s.Digest {
		t.Errorf("digest %v, was %v; %v", again, s.Digest, err)
	}
}

// archived makes an archive of headers with contents.
func archived(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		body := []byte(h.PAXRecords["LLM.body"])
		size := h.Size
		h.PAXRecords = nil
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			if size == 0 {
				size = int64(len(body))
			}
			h.Size = size
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			body = append(body, make([]byte, size-int64(len(body)))...)
			if _, err := w.Write(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	good := tar.Header{Name: "suite.jsonnet"}
	many := make([]tar.Header, 65)
	for i := range many {
		many[i].Name = fmt.Sprintf("%d.txt", i)
	}
	whole := archived(t, good)
	for _, tt := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"zip slip", archived(t, tar.Header{Name: "../evil.star"}), "no plain path"},
		{"absolute", archived(t, tar.Header{Name: "/etc/evil.txt"}), "no plain path"},
		{"a drive", archived(t, tar.Header{Name: "c:evil.txt"}), "no plain path"},
		{"backslashes", archived(t, tar.Header{Name: `a\..\evil.txt`}), "no plain path"},
		{"hidden", archived(t, tar.Header{Name: "a/.evil.txt"}), "no plain path"},
		{"a link", archived(t, tar.Header{Name: "a.txt", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "is a link"},
		{"a hard link", archived(t, tar.Header{Name: "a.txt", Typeflag: tar.TypeLink, Linkname: "b.txt"}), "is a link"},
		{"a folder", archived(t, tar.Header{Name: "a/", Typeflag: tar.TypeDir}), "is a link, a folder"},
		{"a device", archived(t, tar.Header{Name: "a.txt", Typeflag: tar.TypeChar}), "a device"},
		{"another kind", archived(t, tar.Header{Name: "run.sh"}), "holds only"},
		{"twice", archived(t, good, good), "are one file on some systems"},
		{"differing by case", archived(t, good, tar.Header{Name: "Suite.jsonnet"}), "are one file on some systems"},
		{"letters that fold into others", archived(t, tar.Header{Name: "\u212aey.txt"}), "no plain path"},
		{"letters that two systems write differently", archived(t, tar.Header{Name: "e\u0301.txt"}), "no plain path"},
		{"text that turns around", archived(t, tar.Header{Name: "a\u202etxt.star"}), "no plain path"},
		{"an escape sequence", archived(t, tar.Header{Name: "a\x1b[2J.txt"}), "no plain path"},
		{"a space at the end of a folder", archived(t, tar.Header{Name: "a /b.txt"}), "no plain path"},
		{"a stream of a file", archived(t, tar.Header{Name: "a.txt:b.txt"}), "no plain path"},
		{"a file and a folder", archived(t, tar.Header{Name: "a.txt"}, tar.Header{Name: "a.txt/b.txt"}), "is a file and a folder"},
		{"too many", archived(t, many...), "more than 64 files"},
		{"a bomb", archived(t, tar.Header{Name: "a.txt", Size: 64 << 20}), "larger than 4 MiB"},
		{"a long path", archived(t, tar.Header{Name: strings.Repeat("a/", 70) + "b.txt"}), "longer than 128 bytes"},
		{"cut off", whole[:len(whole)/2], "broken"},
		{"not gzip", []byte("hello"), "not a gzip archive"},
		{"a second stream behind it", func() []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(make([]byte, 1<<20))
			_ = z.Close()
			return b.Bytes()
		}(), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys, err := Unpack(bytes.NewReader(tt.archive))
			if err == nil {
				if _, statErr := fs.Stat(fsys, Main); statErr == nil {
					t.Fatal("was accepted")
				}
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error is %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archived(f, tar.Header{Name: "suite.jsonnet"}, tar.Header{Name: "data/x.txt"}))
	f.Add(archived(f, tar.Header{Name: "../x.txt"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys, err := Unpack(bytes.NewReader(b))
		if err != nil {
			return
		}
		total := 0
		for p, content := range fsys.(files) {
			if !fs.ValidPath(p) {
				t.Errorf("path %q", p)
			}
			total += len(content)
		}
		if total > maxTotalBytes {
			t.Errorf("%d bytes", total)
		}
	})
}
