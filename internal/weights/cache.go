package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	cacheFile    = "weights.json"
	cacheVersion = 1
	maxCache     = 4 << 20 // bytes; a thousand models take a tenth of it
	maxEntriesIn = 4096
)

// Cache remembers the digests of files, by their path, size, time of change and inode. It is one JSON file in a folder; paths
// are in it only as hashes. It may be used from several goroutines; of two processes that write at once one wins, and what
// the other had is hashed again.
type Cache struct {
	path    string
	mu      sync.Mutex
	entries map[string]entry
}

// stamp is what a file looks like from outside.
type stamp struct {
	Size     int64  `json:"size_bytes"`
	Modified int64  `json:"modified_ns"` // Unix time
	Inode    uint64 `json:"inode"`
}

type entry struct {
	stamp
	SHA256 string `json:"sha256"`
	UsedS  int64  `json:"used_s"` // Unix time
}

type cacheDocument struct {
	Version int              `json:"version"`
	Files   map[string]entry `json:"files"` // by the SHA-256 of their path
}

// OpenCache reads the cache in a folder, which need not exist. A cache that is damaged, or of another version, is empty.
func OpenCache(dir string) *Cache {
	c := &Cache{path: filepath.Join(dir, cacheFile), entries: map[string]entry{}}
	c.read(c.entries)
	return c
}

// read adds what the file holds.
func (c *Cache) read(into map[string]entry) {
	st, err := os.Stat(c.path)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxCache {
		return
	}
	b, err := os.ReadFile(c.path)
	if err != nil {
		return
	}
	for key, e := range parseCache(b) {
		into[key] = e
	}
}

func parseCache(b []byte) map[string]entry {
	var doc cacheDocument
	if json.Unmarshal(b, &doc) != nil || doc.Version != cacheVersion {
		return nil
	}
	for key, e := range doc.Files {
		if !blobPattern.MatchString(key) || !blobPattern.MatchString(e.SHA256) || e.Size < 0 {
			delete(doc.Files, key)
		}
	}
	return doc.Files
}

// keyOf is how a path stands in the cache: the real one, so that links to a file share its entry.
func keyOf(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:]), nil
}

// look gives the digest of a file that has not changed since it was kept, or "".
func (c *Cache) look(path string) string {
	if c == nil {
		return ""
	}
	key, err := keyOf(path)
	if err != nil {
		return ""
	}
	f, err := open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	now, err := stampOf(f)
	if err != nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok && e.stamp == now {
		return e.SHA256
	}
	return ""
}

// young is how fresh a change may be for a file to be kept: a second change within the clock's step could hide behind it.
const young = 2 * time.Second

func (c *Cache) keep(path string, seen stamp, sum string) {
	if c == nil || time.Since(time.Unix(0, seen.Modified)) < young {
		return
	}
	key, err := keyOf(path)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read(c.entries) // what another process kept meanwhile
	c.entries[key] = entry{seen, sum, time.Now().Unix()}
	for len(c.entries) > maxEntriesIn {
		oldest := key
		for k, e := range c.entries {
			if e.UsedS < c.entries[oldest].UsedS {
				oldest = k
			}
		}
		delete(c.entries, oldest)
	}
	_ = c.write()
}

// write replaces the file as a whole.
func (c *Cache) write() error {
	b, err := json.MarshalIndent(cacheDocument{cacheVersion, c.entries}, "", " ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep digests: %w", err)
	}
	f, err := os.CreateTemp(dir, cacheFile+".*")
	if err != nil {
		return fmt.Errorf("keep digests: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep digests: %w", err), os.Remove(f.Name()))
	}
	return nil
}

func stampOf(f *os.File) (stamp, error) {
	st, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	inode, err := inodeOf(f, st)
	return stamp{st.Size(), st.ModTime().UnixNano(), inode}, err
}
