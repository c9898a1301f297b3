package ollama

import (
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// modelLayer is the media type of the layer of a manifest that holds GGUF weights.
const modelLayer = "application/vnd.ollama.image.model"

// manifest is what of a manifest of Ollama's store is used.
type manifest struct {
	Layers []struct {
		Type   string `json:"mediaType"`
		Digest string `json:"digest"`
		Size   int64  `json:"size"`
	} `json:"layers"`
}

// store is the folder of the user's models: OLLAMA_MODELS, or .ollama/models at home; "" where it is not known.
func store(c drivers.Config) string {
	if dir := strings.Trim(strings.TrimSpace(c.Getenv("OLLAMA_MODELS")), `"'`); dir != "" {
		return dir
	}
	key := "HOME"
	if runtime.GOOS == "windows" {
		key = "USERPROFILE"
	}
	if home := c.Getenv(key); home != "" {
		return filepath.Join(home, ".ollama", "models")
	}
	return ""
}

// stored lists the models of a store without a server, newest first, at most mostShown. What can't be read is passed over.
func stored(ctx context.Context, dir string) []drivers.Model {
	type entry struct {
		name, file string
		at         int64
	}
	var found []entry
	root := filepath.Join(dir, "manifests")
	_ = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil || len(found) > 10_000:
			return fs.SkipAll
		case err != nil || d.IsDir():
			return nil // a folder that can't be read is passed over
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if name := manifestName(filepath.ToSlash(rel)); name != "" && !cloudName(name) {
			e := entry{name: name, file: file}
			if info, err := d.Info(); err == nil {
				e.at = info.ModTime().UnixNano()
			}
			found = append(found, e)
		}
		return nil
	})
	slices.SortStableFunc(found, func(a, b entry) int { return cmp.Compare(b.at, a.at) })
	var models []drivers.Model
	for _, e := range found[:min(len(found), mostShown)] {
		if ctx.Err() != nil {
			break
		}
		if m, ok := storedModel(dir, e.name, e.file); ok {
			models = append(models, m)
		}
	}
	return models
}

// manifestName is the name of the model whose manifest has a path below the manifests' folder: HOST/NAMESPACE/MODEL/TAG,
// written short where the first two are Ollama's own.
func manifestName(rel string) string {
	parts := strings.Split(rel, "/")
	if len(parts) != 4 || strings.HasPrefix(parts[3], ".") {
		return ""
	}
	short := parts[2] + ":" + parts[3]
	switch {
	case parts[0] == "registry.ollama.ai" && parts[1] == "library":
		return short
	case parts[0] == "registry.ollama.ai":
		return path.Join(parts[1], short)
	}
	return path.Join(parts[0], parts[1], short)
}

// storedModel describes a model by its manifest and the header of its weights.
func storedModel(dir, name, file string) (drivers.Model, bool) {
	b, err := os.ReadFile(file)
	if err != nil || len(b) > 1<<20 {
		return drivers.Model{}, false
	}
	var m manifest
	if json.Unmarshal(b, &m) != nil {
		return drivers.Model{}, false
	}
	for _, l := range m.Layers {
		hex, ok := strings.CutPrefix(l.Digest, "sha256:")
		if l.Type != modelLayer || !ok || len(hex) != 64 || strings.ContainsAny(hex, `/\.`) {
			continue
		}
		d := drivers.Model{
			Ref: name, Name: strings.TrimSuffix(name, ":latest"), SizeBytes: l.Size, Path: filepath.Join(dir, "blobs", "sha256-"+hex),
			Digest: l.Digest, DigestKind: digestKind,
		}
		if info, err := weights.ReadGGUF(d.Path); err == nil {
			d.Quant, d.ContextMax = info.Quant, info.Context
		}
		return d, true
	}
	return drivers.Model{}, false
}
