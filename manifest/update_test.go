package manifest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/manifest/manifesttest"
)

const (
	issuer  = "https://issuer.example"
	subject = "https://forge.example/llm-speed/.workflows/publish.yml@refs/heads/main"
)

// now is the tests' clock. Signing times are the real clock's: the virtual authority's certificates are new.
func now() time.Time { return time.Now() }

// publisher is a server that publishes what it is told to, signed or not.
type publisher struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	serve map[string]http.HandlerFunc // in the place of a file
	auth  *manifesttest.Authority
	dir   string // of the user under attack
}

func newPublisher(t *testing.T, auth *manifesttest.Authority) *publisher {
	t.Helper()
	p := &publisher{files: map[string][]byte{}, serve: map[string]http.HandlerFunc{}, auth: auth}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		b, ok := p.files[r.URL.Path]
		h := p.serve[r.URL.Path]
		p.mu.Unlock()
		switch {
		case h != nil:
			h(w, r)
		case ok:
			_, _ = w.Write(b)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) put(path string, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[path] = b
}

func authority(t *testing.T) *manifesttest.Authority {
	t.Helper()
	a, err := manifesttest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// withoutSCT is Keyless for an authority whose certificates carry no SCT.
func withoutSCT(t *testing.T, a *manifesttest.Authority, id Identity) *Verifier {
	t.Helper()
	tr, err := a.TrustedRoot()
	if err != nil {
		t.Fatal(err)
	}
	v, err := keyless(tr, id, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// list is a manifest under construction.
type list struct {
	kind, channel   string
	epoch, version  int
	issued, expires time.Time
	suites          []string
}

func newList(version int, suites ...string) list {
	return list{Type, "stable", 1, version, now().Add(-time.Hour), now().Add(24 * time.Hour), suites}
}

func (l list) source() []byte {
	return fmt.Appendf(nil, `local t = '%s';
{ _type: t, channel: '%s', epoch: %d, version: %d, issued: '%s', expires: '%s', suites: [%s] }
`, l.kind, l.channel, l.epoch, l.version, l.issued.UTC().Format(time.RFC3339), l.expires.UTC().Format(time.RFC3339), strings.Join(l.suites, ", "))
}

// tarred is an archive of plain files and what else its headers say.
func tarred(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archive packs a suite.
func archive(t *testing.T, name, version string) []byte {
	t.Helper()
	return packed(t, manifesttest.Suite(name, version))
}

// packed packs a suite's files.
func packed(t *testing.T, sources map[string][]byte) []byte {
	t.Helper()
	files := fstest.MapFS{}
	for p, b := range sources {
		files[p] = &fstest.MapFile{Data: b}
	}
	s, err := suite.Load(t.Context(), files, suite.InProcess)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := suite.Pack(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entry lists an archive that lies under a path of the server.
func entry(name, version, url string, b []byte, status string) string {
	return fmt.Sprintf(`{ name: '%s', version: '%s', url: '%s', length: %d, sha256: '%x', engine: 1, status: '%s' }`, name, version, url, len(b), sha256.Sum256(b), status)
}

// publish signs a manifest and puts it up with its bundle.
func (p *publisher) publish(t *testing.T, source []byte) {
	t.Helper()
	b, err := p.auth.Sign(issuer, subject, source)
	if err != nil {
		t.Fatal(err)
	}
	p.put("/m.jsonnet", source)
	p.put("/m.jsonnet"+BundleSuffix, b)
}

// updater makes one of the publisher's channel.
func (p *publisher) updater(t *testing.T, dir string) *Updater {
	t.Helper()
	return &Updater{
		Dir: dir, URL: p.URL + "/m.jsonnet", Channel: "stable", Verify: withoutSCT(t, p.auth, Identity{issuer, subject}), Engine: 1,
		Evaluate: suite.InProcess, Now: now, within: [2]time.Duration{2 * time.Second, 2 * time.Second},
		Check: func(ctx context.Context, b []byte) (Checked, error) {
			files, err := suite.Unpack(bytes.NewReader(b))
			if err != nil {
				return Checked{}, err
			}
			s, err := suite.Load(ctx, files, suite.InProcess)
			if err != nil {
				return Checked{}, err
			}
			for i := range s.Workloads { // the program's own check rehearses them too
				w := &s.Workloads[i]
				src, err := fs.ReadFile(files, w.Program)
				if err != nil {
					return Checked{}, err
				}
				if _, err := builtins.Compile(w.Program, src, func(p string) ([]byte, error) { return fs.ReadFile(files, p) }); err != nil {
					return Checked{}, err
				}
			}
			return Checked{s.Name, s.Version, s.Digest, s.Engine}, nil
		},
	}
}

// contents is all that lies in a folder, as one text.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %x\n", path, sha256.Sum256(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestUpdate(t *testing.T) {
	p := newPublisher(t, authority(t))
	dir := filepath.Join(t.TempDir(), "suites")
	one, two := archive(t, "suite-v2", "2.0.0"), archive(t, "suite-v2", "2.1.0")
	p.put("/a/one.tar.gz", one)
	p.put("/two.tar.gz", two)
	u := p.updater(t, dir)

	p.publish(t, newList(1, entry("suite-v2", "2.0.0", "a/one.tar.gz", one, Current)).source())
	look, err := u.Update(t.Context(), true)
	if err != nil || len(look.Installed) != 1 || look.Installed[0] != "suite-v2@2.0.0" || look.Signed.By != subject || look.Signed.At.IsZero() {
		t.Fatalf("looking gave %+v, %v", look, err)
	}
	if in, err := Suites(dir); err != nil || len(in) != 0 {
		t.Fatalf("looking installed %v, %v", in, err)
	}
	if _, err := u.Update(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if b, in, err := Open(dir, "suite-v2", ""); err != nil || !bytes.Equal(b, one) || in.Status != Current || !strings.HasPrefix(in.Digest, "sha256:") {
		t.Fatalf("opened %+v, %v", in, err)
	}
	if out, err := u.Update(t.Context(), false); err != nil || !out.UpToDate || len(out.Installed) != 0 {
		t.Fatalf("again gave %+v, %v", out, err)
	}

	// A newer version comes beside the old one, which stays usable.
	p.publish(t, newList(2, entry("suite-v2", "2.0.0", "a/one.tar.gz", one, Old), entry("suite-v2", "2.1.0", p.URL+"/two.tar.gz", two, Current)).source())
	if out, err := u.Update(t.Context(), false); err != nil || len(out.Installed) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if b, _, err := Open(dir, "suite-v2", ""); err != nil || !bytes.Equal(b, two) {
		t.Errorf("the newest is not found: %v", err)
	}
	if b, _, err := Open(dir, "suite-v2", "2.0.0"); err != nil || !bytes.Equal(b, one) {
		t.Errorf("the old one is lost: %v", err)
	}

	// What is current comes before what is only newer.
	back := newList(3, entry("suite-v2", "2.0.0", "a/one.tar.gz", one, Current), entry("suite-v2", "2.1.0", "two.tar.gz", two, Old))
	p.publish(t, back.source())
	if _, err := u.Update(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, in, err := Open(dir, "suite-v2", ""); err != nil || in.Version != "2.0.0" {
		t.Errorf("the current one is %+v, %v", in, err)
	}

	// Revoked, the version stays, says so, and is no longer the newest.
	p.publish(t, newList(4, entry("suite-v2", "2.0.0", "a/one.tar.gz", one, Old), strings.Replace(entry("suite-v2", "2.1.0", "two.tar.gz", two, Revoked), "engine:", "reason: 'wrong sizes', engine:", 1)).source())
	if out, err := u.Update(t.Context(), false); err != nil || len(out.Revoked) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, in, err := Open(dir, "suite-v2", "2.1.0"); err != nil || in.Status != Revoked || in.Reason != "wrong sizes" {
		t.Errorf("%+v, %v", in, err)
	}
	if _, in, err := Open(dir, "suite-v2", ""); err != nil || in.Version != "2.0.0" {
		t.Errorf("the newest that is not revoked is %+v, %v", in, err)
	}
	raw, bundle, err := Proof(dir, "stable")
	if err != nil {
		t.Fatal(err)
	}
	if m, _, err := u.Read(t.Context(), raw, bundle); err != nil || m.Version != 4 {
		t.Errorf("the kept manifest: %+v, %v", m, err)
	}
	if _, _, err := Open(dir, "suite-v3", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a suite that is not installed: %v", err)
	}

	// A new epoch starts over.
	fresh := newList(1, entry("suite-v2", "2.0.0", "a/one.tar.gz", one, Current), entry("suite-v2", "2.1.0", "two.tar.gz", two, Revoked))
	fresh.epoch = 2
	p.publish(t, fresh.source())
	if _, err := u.Update(t.Context(), false); err != nil {
		t.Fatal(err)
	}

	// What is installed is held against its digest each time.
	entries, err := filepath.Glob(filepath.Join(dir, "archives", "*"))
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if err := os.WriteFile(e, append(one, 0), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Open(dir, "suite-v2", "2.0.0"); !errors.Is(err, ErrDigest) {
		t.Errorf("a changed archive: %v", err)
	}
}

// TestAttacks publishes a good state, installs it, and then attacks: each ends in its own error, and the folder is as it was.
func TestAttacks(t *testing.T) {
	auth, other := authority(t), authority(t)
	good := archive(t, "suite-v2", "2.0.0")
	next := archive(t, "suite-v2", "2.1.0")
	installed := entry("suite-v2", "2.0.0", "one.tar.gz", good, Current)
	signed := func(t *testing.T, p *publisher, by *manifesttest.Authority, iss, sub string, source []byte) {
		b, err := by.Sign(iss, sub, source)
		if err != nil {
			t.Fatal(err)
		}
		p.put("/m.jsonnet", source)
		p.put("/m.jsonnet"+BundleSuffix, b)
	}
	withNext := func(url string, b []byte) list {
		return newList(6, installed, entry("suite-v2", "2.1.0", url, b, Current))
	}
	evil := func(t *testing.T, p *publisher, archive []byte) {
		p.put("/next.tar.gz", archive)
		p.publish(t, withNext("next.tar.gz", archive).source())
	}
	tests := []struct {
		name   string
		attack func(t *testing.T, p *publisher)
		want   error
	}{
		{"rollback", func(t *testing.T, p *publisher) { p.publish(t, newList(4, installed).source()) }, ErrRollback},
		{"rollback of the epoch", func(t *testing.T, p *publisher) {
			l := newList(9, installed)
			l.epoch = 0
			p.publish(t, l.source())
		}, ErrFormat},
		{"freeze", func(t *testing.T, p *publisher) {
			l := newList(6, installed)
			l.issued, l.expires = now().Add(-48*time.Hour), now().Add(-time.Hour)
			p.publish(t, l.source())
		}, ErrExpired},
		{"fast-forward", func(t *testing.T, p *publisher) {
			l := newList(1<<31, installed)
			l.version = 1 << 40
			p.publish(t, l.source())
		}, ErrFormat},
		{"from the future", func(t *testing.T, p *publisher) {
			l := newList(6, installed)
			l.issued, l.expires = now().Add(time.Hour), now().Add(48*time.Hour)
			p.publish(t, l.source())
		}, ErrFuture},
		{"equivocation", func(t *testing.T, p *publisher) {
			l := newList(5, installed)
			l.expires = l.expires.Add(time.Hour)
			p.publish(t, l.source())
		}, ErrEquivocation},
		{"equivocation of an archive", func(t *testing.T, p *publisher) {
			p.publish(t, newList(6, entry("suite-v2", "2.0.0", "one.tar.gz", next, Current)).source())
		}, ErrEquivocation},
		{"a suite dropped", func(t *testing.T, p *publisher) {
			p.publish(t, newList(6, entry("suite-v3", "3.0.0", "one.tar.gz", good, Current)).source())
		}, ErrDropped},
		{"mix and match", func(t *testing.T, p *publisher) { // a manifest with the bundle of another
			p.put("/m.jsonnet", newList(6, installed).source())
		}, ErrSignature},
		{"tampered", func(t *testing.T, p *publisher) {
			source := newList(6, installed).source()
			p.publish(t, source)
			p.put("/m.jsonnet", append(source, ' '))
		}, ErrSignature},
		{"another identity", func(t *testing.T, p *publisher) {
			signed(t, p, auth, issuer, subject+"x", newList(6, installed).source())
		}, ErrSignature},
		{"an identity that only begins as ours", func(t *testing.T, p *publisher) {
			signed(t, p, auth, issuer, strings.TrimSuffix(subject, "main"), newList(6, installed).source())
		}, ErrSignature},
		{"another issuer", func(t *testing.T, p *publisher) {
			signed(t, p, auth, "https://other.example", subject, newList(6, installed).source())
		}, ErrSignature},
		{"another authority", func(t *testing.T, p *publisher) {
			signed(t, p, other, issuer, subject, newList(6, installed).source())
		}, ErrSignature},
		{"a statement about the same bytes", func(t *testing.T, p *publisher) {
			source := newList(6, installed).source()
			b, err := auth.Attest(issuer, subject, source)
			if err != nil {
				t.Fatal(err)
			}
			p.put("/m.jsonnet", source)
			p.put("/m.jsonnet"+BundleSuffix, b)
		}, ErrSignature},
		{"a key's bundle", func(t *testing.T, p *publisher) {
			k, err := manifesttest.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			source := newList(6, installed).source()
			b, err := k.Sign(source)
			if err != nil {
				t.Fatal(err)
			}
			p.put("/m.jsonnet", source)
			p.put("/m.jsonnet"+BundleSuffix, b)
		}, ErrSignature},
		{"no bundle", func(t *testing.T, p *publisher) { delete(p.files, "/m.jsonnet"+BundleSuffix) }, ErrFetch},
		{"a page in the place of the bundle", func(t *testing.T, p *publisher) {
			p.put("/m.jsonnet"+BundleSuffix, []byte("<html>sign in first</html>"))
		}, ErrSignature},
		{"another type", func(t *testing.T, p *publisher) {
			l := newList(6, installed)
			l.kind = "llm-speed/results/v1"
			p.publish(t, l.source())
		}, ErrWrongType},
		{"another channel", func(t *testing.T, p *publisher) {
			l := newList(6, installed)
			l.channel = "edge"
			p.publish(t, l.source())
		}, ErrWrongChannel},
		{"a field more", func(t *testing.T, p *publisher) {
			p.publish(t, bytes.Replace(newList(6, installed).source(), []byte("epoch"), []byte("extra: 1, epoch"), 1))
		}, ErrFormat},
		{"an import", func(t *testing.T, p *publisher) { p.publish(t, []byte("import '/etc/passwd'")) }, ErrFormat},
		{"endless data", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}
		}, ErrTooLarge},
		{"slow data", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = w.Write([]byte{' '})
					w.(http.Flusher).Flush()
					time.Sleep(20 * time.Millisecond)
				}
			}
		}, ErrFetch},
		{"a larger archive", func(t *testing.T, p *publisher) {
			p.put("/next.tar.gz", append(bytes.Clone(next), 0))
			p.publish(t, withNext("next.tar.gz", next).source())
		}, ErrTooLarge},
		{"an archive cut off", func(t *testing.T, p *publisher) {
			p.put("/next.tar.gz", next[:len(next)-1])
			p.publish(t, withNext("next.tar.gz", next).source())
		}, ErrDigest},
		{"another archive of the same length", func(t *testing.T, p *publisher) {
			changed := bytes.Clone(next)
			changed[len(changed)-1] ^= 1
			p.put("/next.tar.gz", changed)
			p.publish(t, withNext("next.tar.gz", next).source())
		}, ErrDigest},
		{"an archive of another suite", func(t *testing.T, p *publisher) { evil(t, p, archive(t, "suite-v9", "2.1.0")) }, ErrArchive},
		{"no archive", func(t *testing.T, p *publisher) { evil(t, p, []byte("hello")) }, ErrArchive},
		{"an archive whose paths leave it", func(t *testing.T, p *publisher) {
			evil(t, p, tarred(t, tar.Header{Name: "suite.jsonnet"}, tar.Header{Name: "../../evil.star"}))
		}, ErrArchive},
		{"an archive with an absolute path", func(t *testing.T, p *publisher) {
			evil(t, p, tarred(t, tar.Header{Name: "suite.jsonnet"}, tar.Header{Name: "/etc/evil.star"}))
		}, ErrArchive},
		{"an archive with a link", func(t *testing.T, p *publisher) {
			evil(t, p, tarred(t, tar.Header{Name: "suite.jsonnet", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}))
		}, ErrArchive},
		{"an archive with a hard link", func(t *testing.T, p *publisher) {
			evil(t, p, tarred(t, tar.Header{Name: "suite.jsonnet"}, tar.Header{Name: "a.star", Typeflag: tar.TypeLink, Linkname: "suite.jsonnet"}))
		}, ErrArchive},
		{"names that differ by case", func(t *testing.T, p *publisher) {
			evil(t, p, tarred(t, tar.Header{Name: "suite.jsonnet"}, tar.Header{Name: "Suite.jsonnet"}))
		}, ErrArchive},
		{"a bomb", func(t *testing.T, p *publisher) {
			evil(t, p, tarred(t, tar.Header{Name: "suite.jsonnet", Size: 64 << 20}))
		}, ErrArchive},
		{"a program that does not compile", func(t *testing.T, p *publisher) {
			evil(t, p, packed(t, map[string][]byte{"suite.jsonnet": manifesttest.Suite("suite-v2", "2.1.0")["suite.jsonnet"], "n.star": []byte("def run(w):\n    strem()\n")}))
		}, ErrArchive},
		{"an endless bundle", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"+BundleSuffix] = func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}
		}, ErrTooLarge},
		{"endless headers", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(w http.ResponseWriter, _ *http.Request) {
				for i := range 12_000 {
					w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
				}
			}
		}, ErrFetch},
		{"a bomb in the transfer", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = z.Write(make([]byte, 64<<20))
				_ = z.Close()
			}
		}, ErrTooLarge},
		{"a slow archive", func(t *testing.T, p *publisher) {
			p.serve["/next.tar.gz"] = func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = w.Write([]byte{' '})
					w.(http.Flusher).Flush()
					time.Sleep(20 * time.Millisecond)
				}
			}
			p.publish(t, withNext("next.tar.gz", next).source())
		}, ErrFetch},
		{"no answer at all", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, ErrFetch},
		{"the manifest redirected to plain http", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://192.0.2.1/m.jsonnet", http.StatusFound)
			}
		}, ErrFetch},
		{"the manifest redirected to a file", func(t *testing.T, p *publisher) {
			p.serve["/m.jsonnet"] = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "file:///etc/passwd")
				w.WriteHeader(http.StatusFound)
			}
		}, ErrFetch},
		{"a reason that moves the cursor", func(t *testing.T, p *publisher) {
			p.publish(t, newList(6, strings.Replace(installed, "engine: 1, status: 'current'", `engine: 1, status: 'revoked', reason: '\u001b[2J'`, 1)).source())
		}, ErrFormat},
		{"a revocation taken back", func(t *testing.T, p *publisher) {
			p.publish(t, newList(6, strings.Replace(installed, "'current'", "'revoked'", 1)).source())
			if _, err := p.updater(t, p.dir).Update(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			p.publish(t, newList(7, installed).source())
		}, ErrRollback},
		{"signed before the one that was seen", func(t *testing.T, p *publisher) {
			source := newList(7, installed).source()
			early, err := p.auth.Sign(issuer, subject, source)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond) // time stamps have whole seconds
			p.publish(t, newList(6, installed).source())
			if _, err := p.updater(t, p.dir).Update(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			p.put("/m.jsonnet", source)
			p.put("/m.jsonnet"+BundleSuffix, early)
		}, ErrRollback},
		{"a redirect to plain http", func(t *testing.T, p *publisher) {
			p.serve["/next.tar.gz"] = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://192.0.2.1/next.tar.gz", http.StatusFound)
			}
			p.publish(t, withNext("next.tar.gz", next).source())
		}, ErrFetch},
		{"a plain http address", func(t *testing.T, p *publisher) {
			p.publish(t, withNext("http://example.com/next.tar.gz", next).source())
		}, ErrFormat},
		{"a redirect loop", func(t *testing.T, p *publisher) {
			p.serve["/next.tar.gz"] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next.tar.gz", http.StatusFound) }
			p.publish(t, withNext("next.tar.gz", next).source())
		}, ErrFetch},
		{"an engine of the future", func(t *testing.T, p *publisher) {
			p.publish(t, newList(6, installed, strings.Replace(entry("suite-v2", "2.1.0", "next.tar.gz", next, Current), "engine: 1", "engine: 2", 1)).source())
		}, ErrIncompatible},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPublisher(t, auth)
			dir := filepath.Join(t.TempDir(), "suites")
			p.put("/one.tar.gz", good)
			p.publish(t, newList(5, installed).source())
			u := p.updater(t, dir)
			if _, err := u.Update(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			p.dir = dir
			tt.attack(t, p)
			before := contents(t, dir)
			_, err := u.Update(t.Context(), false)
			if !errors.Is(err, tt.want) {
				t.Errorf("error is %v, want one that is %q", err, tt.want)
			}
			if Advice(err) == "" {
				t.Errorf("nothing is said about what to do")
			}
			if after := contents(t, dir); after != before {
				t.Errorf("the folder was changed:\n%s\nbefore:\n%s", after, before)
			}
			if b, _, err := Open(dir, "suite-v2", "2.0.0"); err != nil || !bytes.Equal(b, good) {
				t.Errorf("what is installed is not usable any more: %v", err)
			}
		})
	}
}

// TestNothingIsWrittenBut holds what an update may write: nothing where it only looks, and an error of its own where it can't.
func TestNothingIsWrittenBut(t *testing.T) {
	p := newPublisher(t, authority(t))
	one := archive(t, "suite-v2", "2.0.0")
	p.put("/one.tar.gz", one)
	p.publish(t, newList(1, entry("suite-v2", "2.0.0", "one.tar.gz", one, Current)).source())
	dir := filepath.Join(t.TempDir(), "suites")
	if out, err := p.updater(t, dir).Update(t.Context(), true); err != nil || len(out.Installed) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking made the folder: %v", err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in its place
		t.Fatal(err)
	}
	if _, err := p.updater(t, dir).Update(t.Context(), false); err == nil || Advice(err) == "" {
		t.Errorf("error is %v, advice %q", err, Advice(err))
	}
	if err := errors.Join(os.Remove(dir), os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "archives"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.updater(t, dir).Update(t.Context(), false); !errors.Is(err, ErrInstall) || Advice(err) == "" {
		t.Errorf("error is %v", err)
	}
	if in, err := Suites(dir); err != nil || len(in) != 0 {
		t.Errorf("installed are %v, %v", in, err)
	}
}

// TestTwoChannels holds that one channel does not take another's suite for its own, and that removing resolves it.
func TestTwoChannels(t *testing.T) {
	p := newPublisher(t, authority(t))
	one, other := archive(t, "suite-v2", "2.0.0"), packed(t, map[string][]byte{
		"suite.jsonnet": manifesttest.Suite("suite-v2", "2.0.0")["suite.jsonnet"], "n.star": []byte("def run(w):\n    stream(prompt(tokens = 9), output_tokens = 1)\n")})
	p.put("/one.tar.gz", one)
	p.put("/other.tar.gz", other)
	dir := filepath.Join(t.TempDir(), "suites")
	mine := newList(1, entry("suite-v2", "2.0.0", "one.tar.gz", one, Current))
	mine.channel = "mine"
	p.publish(t, mine.source())
	u := p.updater(t, dir)
	u.Channel = "mine"
	if _, err := u.Update(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	p.publish(t, newList(1, entry("suite-v2", "2.0.0", "other.tar.gz", other, Current)).source())
	u.Channel = "stable"
	if _, err := u.Update(t.Context(), false); !errors.Is(err, ErrClash) || Advice(err) == "" {
		t.Errorf("error is %v", err)
	}
	if b, _, err := Open(dir, "suite-v2", ""); err != nil || !bytes.Equal(b, one) {
		t.Errorf("opened another: %v", err)
	}
	if err := Remove(dir, "suite-v2", "2.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir, "suite-v2", "2.0.0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := u.Update(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if b, _, err := Open(dir, "suite-v2", ""); err != nil || !bytes.Equal(b, other) {
		t.Errorf("opened another: %v", err)
	}
}

// TestBuiltIn holds that a suite of the program itself is never fetched, and can be revoked.
func TestBuiltIn(t *testing.T) {
	p := newPublisher(t, authority(t))
	one := archive(t, "suite-v1", "1.0.0")
	dir := filepath.Join(t.TempDir(), "suites")
	u := p.updater(t, dir)
	u.BuiltIn = []string{"suite-v1@1.0.0"}
	p.publish(t, newList(1, entry("suite-v1", "1.0.0", "none.tar.gz", one, Current)).source())
	if out, err := u.Update(t.Context(), false); err != nil || len(out.Installed) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, revoked, err := RevokedBy(dir, "suite-v1", "1.0.0"); err != nil || revoked {
		t.Errorf("revoked: %v, %v", revoked, err)
	}
	p.publish(t, newList(2, strings.Replace(entry("suite-v1", "1.0.0", "none.tar.gz", one, Revoked), "engine:", "reason: 'wrong sizes', engine:", 1)).source())
	if _, err := u.Update(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if why, revoked, err := RevokedBy(dir, "suite-v1", "1.0.0"); err != nil || !revoked || why != "wrong sizes" {
		t.Errorf("revoked: %v %q, %v", revoked, why, err)
	}
	if until, err := Expires(dir, "stable"); err != nil || !until.After(now()) {
		t.Errorf("good until %v, %v", until, err)
	}
}

// TestKeys holds the pinned key's verifier, its window above all.
func TestKeys(t *testing.T) {
	k, err := manifesttest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := manifesttest.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	bytesSigned := []byte("{ a: 1 }\n")
	good, err := k.Sign(bytesSigned)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Sign(bytesSigned)
	if err != nil {
		t.Fatal(err)
	}
	keyless, err := authority(t).Sign(issuer, subject, bytesSigned)
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Hour
	for _, tt := range []struct {
		name        string
		from, until time.Duration
		artifact    []byte
		bundle      []byte
		ok          bool
	}{
		{"good", -hour, hour, bytesSigned, good, true},
		{"expired", -2 * hour, -hour, bytesSigned, good, false},
		{"not yet valid", hour, 2 * hour, bytesSigned, good, false},
		{"other bytes", -hour, hour, []byte("{ a: 2 }\n"), good, false},
		{"another key", -hour, hour, bytesSigned, foreign, false},
		{"a keyless bundle", -hour, hour, bytesSigned, keyless, false},
		{"no bundle", -hour, hour, bytesSigned, []byte("{}"), false},
	} {
		v, err := Key(pub, now().Add(tt.from), now().Add(tt.until))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(tt.artifact, tt.bundle); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := Key([]byte("-----BEGIN NOTHING-----"), now(), now()); err == nil {
		t.Error("rubbish was taken for a key")
	}
}

// TestPublicGood verifies a bundle of the public sigstore services, which a workflow like ours has made, with the trusted root
// that is built in and all the proofs that Keyless wants: the certificate's chain and SCT, the log's entry and its time. The
// bundle is sigstore.js@2.0.0-provenance.sigstore.json of the tests of sigstore-go 1.3.0 (Apache-2.0); it holds a statement, so
// that it ends where a manifest's signature must be none.
func TestPublicGood(t *testing.T) {
	const workflow = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
	raw, err := os.ReadFile("testdata/public-good.sigstore.json")
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	digest, err := hex.DecodeString("46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		id     Identity
		digest []byte
		want   string // of the error
	}{
		{"as it is", Identity{DefaultIssuer, workflow}, digest, ""},
		{"another workflow", Identity{DefaultIssuer, DefaultIdentity}, digest, "no matching CertificateIdentity"},
		{"another branch", Identity{DefaultIssuer, strings.Replace(workflow, "main", "mai", 1)}, digest, "no matching CertificateIdentity"},
		{"another issuer", Identity{"https://accounts.google.com", workflow}, digest, "no matching CertificateIdentity"},
		{"another artifact", Identity{DefaultIssuer, workflow}, make([]byte, len(digest)), "does not match any digest in statement"},
	} {
		v, err := Keyless(TrustedRoot, tt.id)
		if err != nil {
			t.Fatal(err)
		}
		result, err := v.proved(b, verify.WithArtifactDigest("sha512", tt.digest))
		if tt.want != "" {
			if !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: error is %v, want %q", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if at := result.VerifiedTimestamps[0]; at.Type != "Tlog" || at.Timestamp.UTC().Format(time.DateOnly) != "2023-08-18" {
			t.Errorf("signed at %+v", at)
		}
		if _, err := v.signed(result); !errors.Is(err, ErrSignature) {
			t.Errorf("a statement was taken for a signature: %v", err)
		}
	}
	// Without the log, or without the authority, nothing of it holds.
	for _, part := range []string{"tlogs", "ctlogs", "certificateAuthorities"} {
		var root map[string]any
		if err := json.Unmarshal(TrustedRoot, &root); err != nil {
			t.Fatal(err)
		}
		root[part] = []any{}
		less, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Keyless(less, Identity{DefaultIssuer, workflow})
		if err != nil {
			continue // refused sooner
		}
		if _, err := v.proved(b, verify.WithArtifactDigest("sha512", digest)); !errors.Is(err, ErrSignature) {
			t.Errorf("without %s: %v", part, err)
		}
	}
	if _, err := Keyless([]byte("{}"), Identity{DefaultIssuer, DefaultIdentity}); err == nil {
		t.Error("an empty trusted root was taken")
	}
}

func TestSecondUpdateIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, authority(t))
	if _, err := p.updater(t, dir).Update(t.Context(), false); !errors.Is(err, ErrLocked) {
		t.Errorf("error is %v", err)
	}
	unlock()
}

func TestNewer(t *testing.T) {
	order := []string{"1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.0.9", "1.0.10", "1.1.0", "2.0.0"}
	for i := range order {
		for j := range order {
			if Newer(order[i], order[j]) != (i > j) {
				t.Errorf("Newer(%s, %s)", order[i], order[j])
			}
		}
	}
}

// FuzzDecode reads evaluated manifests, and state files.
func FuzzDecode(f *testing.F) {
	f.Add(`{"_type":"llm-speed/manifest/v1","channel":"stable","epoch":1,"version":1,"issued":"2026-01-01T00:00:00Z","expires":"2026-02-01T00:00:00Z","suites":[{"name":"a","version":"1.0.0","url":"a.tar.gz","length":1,"sha256":"` + strings.Repeat("0", 64) + `","engine":1,"status":"current"}]}`)
	f.Add(`{"_type":1e99}`)
	f.Add(`[]{}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Decode(text)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		if m == nil {
			return
		}
		for i := range m.Suites {
			if a, err := m.Suites[i].address("https://example.com/m.jsonnet"); err == nil && !strings.HasPrefix(a, "https://") && !strings.HasPrefix(a, "http://") {
				t.Errorf("address %q", a)
			}
		}
	})
}

// FuzzVerify gives the verifier bundles that are none.
func FuzzVerify(f *testing.F) {
	k, err := manifesttest.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	pub, err := k.Public()
	if err != nil {
		f.Fatal(err)
	}
	good, err := k.Sign([]byte("signed"))
	if err != nil {
		f.Fatal(err)
	}
	v, err := Key(pub, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := v.Verify([]byte("other"), b); err == nil {
			t.Error("verified other bytes")
		}
	})
}
