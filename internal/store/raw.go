package store

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// rawSchema names the form of a raw file.
const rawSchema = "llm-speed/raw/v1"

// Bounds of a raw file that is read: a run's own are far smaller.
const (
	maxRawPacked = 512 << 20
	maxRaw       = 2 << 30
)

// rawFile is the content of a raw file: the recordings of one pass of a row.
type rawFile struct {
	Schema     string             `json:"schema"`
	Row        string             `json:"row"`
	Pass       int                `json:"pass"`
	Recordings []stream.Recording `json:"recordings"`
}

// SaveRaw stores the recordings of one pass (from 1) of a row, gzipped, and names the file for the result. The same row and
// pass replace their file.
func (r *Run) SaveRaw(rowKey string, pass int, recs []stream.Recording) (record.RawFile, error) {
	name := path.Join(rawName, fmt.Sprintf("%s.%d.json.gz", safeName(rowKey), pass))
	if r.lock == nil {
		return record.RawFile{}, fmt.Errorf("save %s: the run is closed", name)
	}
	full := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return record.RawFile{}, saveError(full, err)
	}
	sum := sha256.New()
	var size counter
	err := replace(full, func(w io.Writer) error {
		zip := gzip.NewWriter(io.MultiWriter(w, sum, &size))
		if err := json.NewEncoder(zip).Encode(rawFile{rawSchema, rowKey, pass, recs}); err != nil {
			return err
		}
		return zip.Close()
	})
	if err != nil {
		return record.RawFile{}, err
	}
	return record.RawFile{Path: name, SHA256: hex.EncodeToString(sum.Sum(nil)), Bytes: int64(size)}, nil
}

// counter counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// LoadRaw reads recordings that a result names, after it has checked their hash.
func (s *Saved) LoadRaw(file record.RawFile) ([]stream.Recording, error) {
	recs, err := s.loadRaw(file)
	if err != nil {
		return nil, fmt.Errorf("raw recordings %s of %s: %w", file.Path, s.Dir, err)
	}
	return recs, nil
}

func (s *Saved) loadRaw(file record.RawFile) ([]stream.Recording, error) {
	// The result may come from elsewhere: a root keeps its paths and links inside the run's folder.
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(file.Path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() || info.Size() > maxRawPacked {
		return nil, errors.New("no regular file, or too large")
	}
	packed, err := io.ReadAll(io.LimitReader(f, maxRawPacked+1))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != file.SHA256 {
		return nil, fmt.Errorf("the file was changed: sha256 %x, want %s", sum, file.SHA256)
	}
	return parseRaw(packed)
}

// parseRaw understands the bytes of a raw file.
func parseRaw(packed []byte) ([]stream.Recording, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: zip, N: maxRaw}
	dec := json.NewDecoder(limited)
	var raw rawFile
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	if raw.Schema != rawSchema {
		return nil, fmt.Errorf("schema %q, want %s", raw.Schema, rawSchema)
	}
	// The checksum of the gzip stream stands at its end.
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return nil, err
	}
	return raw.Recordings, nil
}

// safeName makes a file name of a row key that is the same on every file system, those without upper and lower case
// included. Keys of capitals and digits stay as they are; every other one gets a hash, so that no two keys meet.
func safeName(key string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if key != "" && len(key) <= 32 && strings.Trim(key, plain) == "" && !reserved(key) {
		return key
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r == '/':
			return '-'
		case strings.ContainsRune(plain+"abcdefghijklmnopqrstuvwxyz=", r):
			return r
		}
		return '_'
	}, key)
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%.64s~%x", name, sum[:4])
}

// reserved reports whether Windows takes a name for a device.
func reserved(name string) bool {
	switch name {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(name) == 4 && (strings.HasPrefix(name, "COM") || strings.HasPrefix(name, "LPT"))
}
