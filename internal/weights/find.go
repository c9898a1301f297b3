package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// File is a model file that Find saw. It has not been opened.
type File struct {
	Path      string
	Name      string    // file name without .gguf and without the part number
	SizeBytes int64     // of this file alone
	Modified  time.Time //
}

// The bounds of a search: home folders can be large, and a look-up must be quick.
const (
	maxDepth   = 7
	maxEntries = 50_000
)

// Places lists where GGUF files usually lie for a user: the caches of llama.cpp and Hugging Face, LM Studio's folders, and
// ~/models. They need not exist.
func Places(home string, env func(string) string, goos string) []string {
	var dirs []string
	put := func(parts ...string) {
		if parts[0] == "" {
			return
		}
		d := filepath.Join(parts...)
		for _, have := range dirs {
			if have == d {
				return
			}
		}
		dirs = append(dirs, d)
	}
	cache := env("XDG_CACHE_HOME")
	if cache == "" && home != "" {
		cache = filepath.Join(home, ".cache")
	}
	put(env("LLAMA_CACHE"))
	switch goos {
	case "darwin":
		if home != "" {
			put(home, "Library", "Caches", "llama.cpp")
		}
	case "windows":
		put(env("LOCALAPPDATA"), "llama.cpp")
	}
	put(cache, "llama.cpp")
	put(env("HF_HUB_CACHE"))
	put(env("HUGGINGFACE_HUB_CACHE"))
	put(env("HF_HOME"), "hub")
	put(cache, "huggingface", "hub")
	put(home, ".lmstudio", "models")
	put(cache, "lm-studio", "models")
	if home != "" {
		put(home, ".cache", "lm-studio", "models")
	}
	put(home, "models")
	return dirs
}

// Find lists the models in dirs and below, newest first, ties by path. Projectors of images, vocabularies, and all but the
// first part of a split model are left out; so is the second path of one file. A folder that can't be read holds nothing.
func Find(dirs []string) []File {
	s := search{seen: map[string]bool{}}
	for _, d := range dirs {
		s.walk(d, 0)
	}
	sort.Slice(s.found, func(i, j int) bool {
		a, b := s.found[i], s.found[j]
		if !a.Modified.Equal(b.Modified) {
			return a.Modified.After(b.Modified)
		}
		return a.Path < b.Path
	})
	return s.found
}

type search struct {
	found   []File
	seen    map[string]bool // real paths
	entries int
}

func (s *search) walk(dir string, depth int) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range list {
		if s.entries++; s.entries > maxEntries {
			return
		}
		name, path := e.Name(), filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			// The blobs of a Hugging Face cache are what its snapshots link to.
			if depth < maxDepth && name != "blobs" && name != "refs" && !strings.HasPrefix(name, ".") {
				s.walk(path, depth+1)
			}
		case wanted(name):
			s.take(path, name)
		}
	}
}

func (s *search) take(path, name string) {
	st, err := os.Stat(path) // a link counts as what it leads to
	if err != nil || !st.Mode().IsRegular() {
		return
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || s.seen[real] {
		return
	}
	s.seen[real] = true
	s.found = append(s.found, File{Path: path, Name: NameOf(name), SizeBytes: st.Size(), Modified: st.ModTime()})
}

// wanted tells models from what else ends in .gguf.
func wanted(name string) bool {
	low := strings.ToLower(name)
	if !strings.HasSuffix(low, ".gguf") || strings.Contains(low, "mmproj") || strings.HasPrefix(low, "ggml-vocab-") {
		return false
	}
	n, _, _, split := splitName(name)
	return !split || n == 1
}

// splitPattern is how llama.cpp names the parts of a split model.
var splitPattern = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.gguf$`)

func splitName(name string) (part, of int, stem string, ok bool) {
	m := splitPattern.FindStringSubmatch(name)
	if m == nil {
		return 0, 0, "", false
	}
	part, _ = strconv.Atoi(m[2])
	of, _ = strconv.Atoi(m[3])
	return part, of, m[1], part >= 1 && of >= part
}

// NameOf is a file name without .gguf and without the part number.
func NameOf(path string) string {
	name := filepath.Base(path)
	if _, _, stem, ok := splitName(name); ok {
		return stem
	}
	if ext := filepath.Ext(name); strings.EqualFold(ext, ".gguf") {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// Parts lists the files of a model in order: the path alone, or all parts where its name is that of a part, or all shards of
// a safetensors model. A part that is missing is ErrCutOff.
func Parts(path string) ([]string, error) {
	if isSafetensors(path) {
		return shards(path)
	}
	_, of, stem, ok := splitName(filepath.Base(path))
	if !ok {
		return []string{path}, nil
	}
	parts := make([]string, of)
	for i := range parts {
		parts[i] = filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%05d.gguf", stem, i+1, of))
		if _, err := os.Stat(parts[i]); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s: %w: part %d of %d is missing", filepath.Base(path), ErrCutOff, i+1, of)
			}
			return nil, err
		}
	}
	return parts, nil
}
