package pyhelper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// Folder is a model in Hugging Face's form: a folder with config.json and safetensors files.
type Folder struct {
	Path     string
	Name     string // org/name in a Hugging Face cache, else the folder's name
	Config   Config
	Modified time.Time
}

// Config is what of a config.json a driver looks at.
type Config struct {
	Architecture string          `json:"model_type"`
	Context      int             `json:"max_position_embeddings"`
	MLX          json.RawMessage `json:"quantization"` // only MLX writes it
	Quantization struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
	EOS  json.RawMessage `json:"eos_token_id"` // a number or several
	Text *struct {
		Context int             `json:"max_position_embeddings"`
		EOS     json.RawMessage `json:"eos_token_id"`
	} `json:"text_config"`
}

// The bounds of a search: home folders can be large, and a look-up must be quick.
const (
	maxConfig  = 4 << 20
	maxDepth   = 5
	maxEntries = 20_000
	maxFolders = 200
)

// ReadConfig reads a model folder's config.json. Fields of another type than expected count as absent.
func ReadConfig(folder string) (Config, error) {
	var c Config
	name := filepath.Join(folder, "config.json")
	st, err := os.Stat(name)
	if err != nil {
		return c, err
	}
	if st.Size() > maxConfig {
		return c, fmt.Errorf("%s has %d bytes: no configuration of a model", name, st.Size())
	}
	b, err := os.ReadFile(name) //nolint:gosec // a model folder of the user's own
	if err != nil {
		return c, err
	}
	var odd *json.UnmarshalTypeError
	if err := json.Unmarshal(b, &c); err != nil && !errors.As(err, &odd) {
		return c, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	if c.Context <= 0 && c.Text != nil {
		c.Context = c.Text.Context
	}
	c.Context = max(c.Context, 0)
	return c, nil
}

// EOSIDs are the ids of the end of text, as the configuration and generation_config.json beside it name them.
func EOSIDs(folder string, c Config) []int {
	raws := []json.RawMessage{c.EOS}
	if c.Text != nil {
		raws = append(raws, c.Text.EOS)
	}
	if b, err := os.ReadFile(filepath.Join(folder, "generation_config.json")); err == nil { //nolint:gosec // a model folder of the user's own
		var g struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		if json.Unmarshal(b, &g) == nil {
			raws = append(raws, g.EOS)
		}
	}
	var ids []int
	for _, raw := range raws {
		var one int
		var many []int
		switch {
		case json.Unmarshal(raw, &one) == nil && len(raw) > 0 && raw[0] != 'n':
			ids = append(ids, one)
		case json.Unmarshal(raw, &many) == nil:
			ids = append(ids, many...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Places lists where model folders usually lie for a user: Hugging Face's cache, LM Studio's folders, and ~/models.
func Places(env func(string) string) []string {
	if env == nil {
		return nil
	}
	return weights.Places(Home(env), env, runtime.GOOS)
}

// Home is the user's folder; "" where it is not known.
func Home(env func(string) string) string {
	switch {
	case env == nil:
		return ""
	case runtime.GOOS == "windows":
		return env("USERPROFILE")
	}
	return env("HOME")
}

// Find lists the models in dirs and below that are wanted, newest first, ties by path. Only names and configurations are
// read, nothing is fetched. A folder that can't be read holds nothing.
func Find(dirs []string, wanted func(Folder) bool) []Folder {
	s := search{seen: map[string]bool{}, wanted: wanted}
	for _, d := range dirs {
		s.walk(d, 0)
	}
	slices.SortFunc(s.found, func(a, b Folder) int {
		return cmp.Or(b.Modified.Compare(a.Modified), strings.Compare(a.Path, b.Path))
	})
	return s.found
}

type search struct {
	found   []Folder
	seen    map[string]bool // real paths of configurations
	wanted  func(Folder) bool
	entries int
}

func (s *search) walk(dir string, depth int) {
	list, err := os.ReadDir(dir)
	if err != nil || len(s.found) >= maxFolders {
		return
	}
	weightsHere := slices.ContainsFunc(list, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".safetensors") })
	for _, e := range list {
		if s.entries++; s.entries > maxEntries {
			return
		}
		switch name := e.Name(); {
		case name == "config.json" && weightsHere:
			s.take(dir)
		case e.IsDir() && depth < maxDepth && name != "blobs" && name != "refs" && !strings.HasPrefix(name, "."):
			s.walk(filepath.Join(dir, name), depth+1)
		}
	}
}

func (s *search) take(dir string) {
	f, err := Open(dir)
	if err != nil {
		return
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil || s.seen[real] || !s.wanted(f) {
		return
	}
	s.seen[real] = true
	s.found = append(s.found, f)
}

// Open reads one model folder.
func Open(dir string) (Folder, error) {
	f := Folder{Path: dir, Name: nameOf(dir)}
	st, err := os.Stat(filepath.Join(dir, "config.json"))
	if err != nil {
		return f, err
	}
	f.Modified = st.ModTime()
	f.Config, err = ReadConfig(dir)
	return f, err
}

// nameOf names a folder; one of a Hugging Face cache (models--org--name/snapshots/revision) by its repository.
func nameOf(dir string) string {
	if parent := filepath.Dir(dir); filepath.Base(parent) == "snapshots" {
		if repo, ok := strings.CutPrefix(filepath.Base(filepath.Dir(parent)), "models--"); ok {
			return strings.Replace(repo, "--", "/", 1)
		}
	}
	return filepath.Base(dir)
}

// Model describes a folder: what its configuration says, and with headers set what the headers of its weights do, which
// reads one block of each file.
func (f *Folder) Model(headers bool) drivers.Model {
	m := drivers.Model{Ref: f.Name, Name: f.Name, Path: f.Path, ContextMax: f.Config.Context}
	if !headers {
		return m
	}
	if info, err := weights.ReadSafetensors(f.Path); err == nil {
		m.Quant, m.SizeBytes = info.Quant, info.SizeBytes
		m.ContextMax = cmp.Or(m.ContextMax, info.Context)
	}
	return m
}

// Choose finds the model that ref means: a folder's path, a name or the part of one that only one has, or, where it is empty,
// the newest. wanted says in an error what kind of model is looked for. Errors: ErrModelNotFound with near names, ErrNoModel.
func Choose(ref string, found []Folder, what string) (Folder, error) {
	if ref != "" && (paths.IsAbs(ref) || strings.HasPrefix(ref, ".")) {
		abs, err := filepath.Abs(ref)
		if err != nil {
			return Folder{}, fmt.Errorf("model %s: %w", ref, err)
		}
		f, err := Open(abs)
		if err != nil {
			return f, fmt.Errorf("%w: %s is no folder of a model: %w; give the folder that holds config.json", drivers.ErrModelNotFound, ref, reason(err))
		}
		return f, nil
	}
	switch {
	case ref != "":
	case len(found) == 0:
		return Folder{}, fmt.Errorf("%w: no %s in Hugging Face's cache, LM Studio's folders or ~/models; give its folder with --model", drivers.ErrNoModel, what)
	default:
		return found[0], nil
	}
	low := strings.ToLower(ref)
	names := make([]string, len(found))
	var part []Folder
	for i, f := range found {
		name := strings.ToLower(f.Name)
		if name == low || paths.Base(name) == low {
			return f, nil
		}
		if strings.Contains(name, low) && !slices.ContainsFunc(part, func(p Folder) bool { return p.Name == f.Name }) {
			part = append(part, f)
		}
		names[i] = f.Name
	}
	if len(part) == 1 {
		return part[0], nil
	}
	if abs, err := filepath.Abs(ref); err == nil { // a folder below the current one
		if f, err := Open(abs); err == nil {
			return f, nil
		}
	}
	if len(found) == 0 {
		return Folder{}, fmt.Errorf("%w: no %s in the usual places, so none is %q; give its folder with --model", drivers.ErrModelNotFound, what, ref)
	}
	return Folder{}, fmt.Errorf("%w: no %s is %q; %s", drivers.ErrModelNotFound, what, ref, strings.Replace(pick.Suggest(ref, names), "it serves", "there are", 1))
}

// reason is what an error of a path says beside the path.
func reason(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
