// Package identity gives a machine and installation a name that says nothing about them: the fp of a result.
//
// fp is HMAC-SHA256 of a canonical descriptor of the hardware, under a random secret that is made once for this installation
// and never leaves it. Equal fps say that two results come from one machine and installation; nobody without the secret can
// try out what the machine may be. Serial numbers of the machine, host and user names, network addresses and paths are not
// looked at; UUIDs of GPUs go into the HMAC and nowhere else. A change of the hardware, or of the installation, changes fp.
package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/hw"
)

// domain keeps this HMAC apart from all others that may ever be made with the secret.
const domain = "llm-speed/fp/v1"

// secretFile is the secret's name in the data directory.
const secretFile = "fp-secret"

// Secret is the secret of an installation. It shows itself in no text.
type Secret struct{ bytes [32]byte }

// String is three stars.
func (Secret) String() string { return "***" }

// GoString is three stars.
func (Secret) GoString() string { return "***" }

// Fresh is a secret that is kept nowhere: an fp under it fits no other.
func Fresh() Secret {
	var s Secret
	_, _ = rand.Read(s.bytes[:]) // never fails, by its contract
	return s
}

// Open reads the secret in a folder, and makes it where there is none: a file that this user alone may read. Of several
// processes that make it at once all get the same one. A file that holds something else is left as it is, and an error.
func Open(dir string) (Secret, error) { return open(dir, secretFile) }

func open(dir, name string) (Secret, error) {
	path := filepath.Join(dir, name)
	s, err := read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err := create(dir, path, Fresh()); err != nil {
		return Secret{}, fmt.Errorf("make the secret of this installation: %w", plain(err))
	}
	return read(path)
}

func read(path string) (Secret, error) {
	var s Secret
	if info, err := os.Stat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > 4096) { // a pipe would be waited for
		return s, fmt.Errorf("the secret of this installation is no small file; remove %s from the data directory to get a new one", filepath.Base(path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read the secret of this installation: %w", plain(err))
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != len(s.bytes) {
		return s, fmt.Errorf("the secret of this installation is damaged; remove the file %s from the data directory to get a new one", filepath.Base(path))
	}
	copy(s.bytes[:], key)
	return s, nil
}

// plain takes the folder out of an error: it holds the user's name, and the text goes into the result.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s %s: %w", path.Op, filepath.Base(path.Path), path.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return fmt.Errorf("%s %s: %w", link.Op, filepath.Base(link.New), link.Err)
	}
	return err
}

// create writes the secret as a whole or not at all, and never over one that is there.
func create(dir, path string, s Secret) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	text := hex.EncodeToString(s.bytes[:]) + "\n"
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	// A file system without links.
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = out.WriteString(text)
	return errors.Join(err, out.Sync(), out.Close())
}

// FP names the machine of a descriptor: 64 hex digits.
func (s Secret) FP(d Descriptor) string {
	mac := hmac.New(sha256.New, s.bytes[:])
	mac.Write([]byte(domain))
	mac.Write(d.canonical())
	return hex.EncodeToString(mac.Sum(nil))
}

// Descriptor is what makes a machine that machine. It holds whole numbers and texts of printable ASCII alone, and its fields
// stand in the order of their names, so that its JSON is the canonical one of RFC 8785.
type Descriptor struct {
	Arch       string `json:"arch"`
	CPU        string `json:"cpu"`
	CPUCores   int    `json:"cpu_cores"`
	CPUSockets int    `json:"cpu_sockets"`
	CPUThreads int    `json:"cpu_threads"`
	GPUs       []GPU  `json:"gpus"`
	Machine    string `json:"machine"`
	OS         string `json:"os"`
	RAMGiB     int64  `json:"ram_gib"`
	Schema     string `json:"schema"`
}

// GPU is one GPU of a Descriptor.
type GPU struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"` // "" where the vendor's tool shows none
	Vendor  string `json:"vendor"`
	VRAMGiB int64  `json:"vram_gib"`
}

// Of describes a machine. What a system update, a driver or a setting changes is left out. It is an error where the machine
// could not be read completely this time: the next time it would be another.
func Of(fp hw.Fingerprint) (Descriptor, error) {
	d := Descriptor{
		Arch: clean(fp.OS.Arch), CPU: clean(value(fp.CPU.Model)), CPUCores: value(fp.CPU.Cores), CPUSockets: value(fp.CPU.Sockets), CPUThreads: value(fp.CPU.Threads),
		GPUs: []GPU{}, Machine: clean(value(fp.Machine)), OS: clean(fp.OS.Name), RAMGiB: gib(fp.RAMTotal), Schema: domain,
	}
	for _, must := range []struct {
		what, field string
		known       bool
	}{{"GPUs", "gpus", fp.GPUs != nil && fp.Reasons["gpus"] == ""}, {"processor", "cpu.threads", fp.CPU.Threads != nil}, {"memory", "ram_total_bytes", fp.RAMTotal != nil}} {
		if !must.known {
			return d, fmt.Errorf("the machine's %s could not be read: %s", must.what, fp.Reasons[must.field])
		}
	}
	for _, g := range fp.GPUs {
		d.GPUs = append(d.GPUs, GPU{Name: clean(g.Name), UUID: clean(g.UUID), Vendor: clean(g.Vendor), VRAMGiB: gib(g.VRAMTotal)})
	}
	slices.SortFunc(d.GPUs, func(a, b GPU) int { return strings.Compare(a.Vendor+a.Name+a.UUID, b.Vendor+b.Name+b.UUID) })
	return d, nil
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// gib rounds: systems keep a little of the memory to themselves, and another little with each version.
func gib(bytes *int64) int64 {
	if bytes == nil {
		return 0
	}
	return (*bytes + 1<<29) >> 30
}

// clean keeps printable ASCII, which all JSON writers write in one way.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimSpace(text))
	return text[:min(len(text), 256)]
}

// canonical is the descriptor as RFC 8785 writes it.
func (d Descriptor) canonical() []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return nil // texts and whole numbers have no such error
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
