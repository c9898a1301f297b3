package upload

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/llm-speed/llm-speed/internal/seal"
)

// service is the key of a service that does not exist.
func service(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private, public, err := note.GenerateKey(io.MultiReader(bytes.NewReader(seed[:]), bytes.NewReader(seed[:])), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

func receiptOf(d Document) Receipt {
	return Receipt{ID: d.ID(), SHA256: d.SHA256(), ReceivedAt: time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC), LogIndex: 41}
}

func TestReceipt(t *testing.T) {
	d, _ := prepared(t, input())
	signer, public := service(t, "results.example")
	want := receiptOf(d)
	file, err := want.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenReceipt(file, public)
	if err != nil || s.Receipt != want || s.By != "results.example" || !IsReceipt(file) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := s.Fits(d); err != nil {
		t.Error(err)
	}
	anon, _ := prepared(t, anonymousInput())
	if err := s.Fits(anon); !errors.Is(err, seal.ErrBad) {
		t.Errorf("of another document: %v", err)
	}
	_, other := service(t, "other.example")
	for _, key := range []string{"", other} {
		if s, err := OpenReceipt(file, key); !errors.Is(err, ErrUnknownKey) || s.Receipt != want || s.By != "results.example" {
			t.Errorf("key %q: %+v, %v", key, s, err)
		}
	}
	if _, err := OpenReceipt(file, "rubbish"); err == nil || !strings.Contains(err.Error(), "verifier key") {
		t.Errorf("a key that is none: %v", err)
	}
	for i := range file {
		for bit := range 8 {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << bit
			if _, err := OpenReceipt(bad, public); err == nil {
				t.Errorf("bit %d of byte %d (%q) was flipped: it passes", bit, i, file[max(0, i-10):i+1])
			}
		}
		if _, err := OpenReceipt(file[:i], public); err == nil {
			t.Errorf("cut off after %d bytes it passes", i)
		}
	}
}

// TestReceiptForms are notes that the service has signed, and that are no receipts of this version.
func TestReceiptForms(t *testing.T) {
	d, _ := prepared(t, input())
	signer, public := service(t, "results.example")
	text := receiptOf(d).Text()
	for name, c := range map[string]struct{ from, to, want string }{
		"another note":       {"llm-speed/receipt/v1", "go.sum database tree", "no receipt"},
		"a newer version":    {"llm-speed/receipt/v1", "llm-speed/receipt/v2", "newer llm-speed"},
		"an id in capitals":  {d.ID(), strings.ToUpper(d.ID()), "not of the form"},
		"no id":              {"id " + d.ID() + "\n", "", "not of the form"},
		"an id twice":        {"id " + d.ID() + "\n", "id " + d.ID() + "\nid " + d.ID() + "\n", "not of the form"},
		"a line more":        {"log_index 41\n", "log_index 41\nx 1\n", "not of the form"},
		"an index below 0":   {"log_index 41", "log_index -1", "not of the form"},
		"an index with a +":  {"log_index 41", "log_index +41", "not of the form"},
		"a huge index":       {"log_index 41", "log_index 9007199254740992", "not of the form"},
		"a time with a zone": {"2026-12-01T10:00:00Z", "2026-12-01T10:00:00+01:00", "not of the form"},
		"no time":            {"2026-12-01T10:00:00Z", "yesterday", "not of the form"},
		"a short sum":        {d.SHA256(), "abcd", "not of the form"},
	} {
		file, err := note.Sign(&note.Note{Text: strings.Replace(text, c.from, c.to, 1)}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenReceipt(file, public); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := OpenReceipt(bytes.Repeat([]byte("x"), maxReceipt+1), public); !errors.Is(err, seal.ErrBad) {
		t.Errorf("a large one: %v", err)
	}
}

// FuzzReceipt: what is read is refused, or says one thing in one form.
func FuzzReceipt(f *testing.F) {
	d, _ := prepared(f, input())
	signer, public := service(f, "results.example")
	file, err := receiptOf(d).Sign(signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(receiptOf(d).Text()))
	f.Add([]byte("llm-speed/receipt/v1\n\n— x AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := OpenReceipt(file, public)
		if err != nil && !errors.Is(err, ErrUnknownKey) {
			return
		}
		if !bytes.HasPrefix(file, []byte(s.Text())) {
			t.Fatalf("%q is %q", file, s.Text())
		}
	})
}
