package vllm

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/loose"
	"github.com/llm-speed/llm-speed/drivers/internal/paths"
	"github.com/llm-speed/llm-speed/drivers/internal/pick"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// model describes a served model: by its files where they can be read and can be no others, else by the server's words. path is
// the folder that the server was started for, "" where that is not known; kind says where the server is.
func (s *server) model(c drivers.Config, entry loose.Object, path, kind string, whyNot map[string]string) drivers.Model {
	id, root := entry.Text("id"), entry.Text("root")
	m := drivers.Model{Ref: paths.Shown(id), Name: paths.Shown(id), Loaded: true}
	if root == "" || entry.Text("parent") != "" {
		root = id
	}
	why := ""
	if path == "" {
		path, why = locate(c, root, kind)
	}
	if path != "" {
		info, err := weights.Read(path)
		if err == nil {
			m.Path, m.Quant, m.SizeBytes, m.ContextMax = path, info.Quant, info.SizeBytes, info.Context
		} else {
			why = "the model's files can't be read"
		}
	}
	if m.Path == "" && why != "" {
		whyNot["model.digest"] = why
	}
	for _, said := range []string{s.config.Text("quantization"), s.config.Object("model_config").Text("quantization"), quantOf(root), quantOf(id)} {
		if m.Quant == "" {
			m.Quant = said
		}
	}
	if m.Quant == "" {
		whyNot["model.quant"] = "vLLM does not state it, the model's name does not, and its files are not at hand"
	}
	if m.ContextMax == 0 {
		m.ContextMax = entry.Count("max_model_len")
	}
	return m
}

// locate finds the folder of a model that a server of this machine names by a path or a Hugging Face name; else it says why
// not.
func locate(c drivers.Config, root, kind string) (path, why string) {
	switch {
	case kind != "loopback":
		return "", "the server runs on another machine"
	case filepath.IsAbs(root):
		if _, err := os.Stat(root); err != nil {
			return "", "the server's model folder is not on this machine: it may run in a container"
		}
		return root, ""
	case paths.IsAbs(root), strings.Count(root, "/") != 1, strings.Contains(root, ".."):
		return "", "the server does not say where its model lies"
	}
	snapshots, err := filepath.Glob(filepath.Join(hub(c), "models--"+strings.ReplaceAll(root, "/", "--"), "snapshots", "*", "config.json"))
	switch {
	case err != nil, len(snapshots) == 0:
		return "", "the model is not in Hugging Face's cache of this user"
	case len(snapshots) > 1:
		return "", "several revisions of the model are in Hugging Face's cache, and the server does not say which it serves"
	}
	return filepath.Dir(snapshots[0]), ""
}

// hub is the folder of Hugging Face's cache.
func hub(c drivers.Config) string {
	for _, k := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if v := c.Getenv(k); v != "" {
			return v
		}
	}
	if v := c.Getenv("HF_HOME"); v != "" {
		return filepath.Join(v, "hub")
	}
	if v := c.Getenv("XDG_CACHE_HOME"); v != "" {
		return filepath.Join(v, "huggingface", "hub")
	}
	return filepath.Join(c.Getenv("HOME"), ".cache", "huggingface", "hub")
}

// cachedNames lists the models in Hugging Face's cache, as ORG/NAME.
func cachedNames(c drivers.Config) []string {
	var names []string
	dirs, _ := filepath.Glob(filepath.Join(hub(c), "models--*"))
	for _, d := range dirs {
		names = append(names, strings.ReplaceAll(strings.TrimPrefix(filepath.Base(d), "models--"), "--", "/"))
	}
	return names
}

// mostModels bounds the models whose headers are read for a list.
const mostModels = 64

// cachedModels lists the models in Hugging Face's cache that vLLM could be started for, newest first: those whose weights are
// there, and which generate text as far as their names and architectures tell.
func cachedModels(ctx context.Context, c drivers.Config) []drivers.Model {
	type snapshot struct {
		ref, dir string
		at       time.Time
	}
	var all []snapshot
	for _, ref := range cachedNames(c) {
		dir, _ := locate(c, ref, "loopback")
		if st, err := os.Lstat(dir); err == nil && pick.GeneratesText(ref) {
			all = append(all, snapshot{ref, dir, st.ModTime()})
		}
	}
	slices.SortStableFunc(all, func(a, b snapshot) int { return b.at.Compare(a.at) })
	list := []drivers.Model{}
	for _, s := range all {
		if ctx.Err() != nil || len(list) == mostModels {
			break
		}
		info, err := weights.ReadSafetensors(s.dir)
		if err != nil || strings.Contains(strings.ToLower(info.Architecture), "bert") {
			continue
		}
		list = append(list, drivers.Model{Ref: s.ref, Name: s.ref, Path: s.dir, Quant: info.Quant, SizeBytes: info.SizeBytes, ContextMax: info.Context})
	}
	return list
}

// quantPattern is how names of models tell their quantisation.
var quantPattern = regexp.MustCompile(`(?i)(?:^|[-_.])(awq(?:[-_]int4)?|gptq(?:[-_]int[48])?|fp8(?:[-_]dynamic)?|nvfp4|mxfp4|fp4|int[48]|w[48]a(?:16|8|4)|bnb[-_]4bit|q[2-8]_[0-9k](?:_[sml])?)(?:$|[-_.])`)

// quantOf is the quantisation that a model's name tells; "" where it tells none.
func quantOf(name string) string {
	if m := quantPattern.FindStringSubmatch(paths.Shown(name)); m != nil {
		return strings.ToUpper(m[1])
	}
	return ""
}
