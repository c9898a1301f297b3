package llamacpp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// program is the server's executable, without .exe.
const program = "llama-server"

// binary finds llama-server: the one of option path, which may be its folder, or the one on PATH. "" and nil mean that
// none is there.
func binary(c drivers.Config) (string, error) {
	p := option(c, optPath)
	if p == "" {
		return proc.Find(program, c.Getenv("PATH")), nil
	}
	st, err := os.Stat(p)
	if err != nil {
		return "", fmt.Errorf("%w: option %s (--llama-cpp-path) is %s: %w; give llama-server, or the folder that it is in", drivers.ErrNotFound, optPath, p, reason(err))
	}
	if st.IsDir() {
		for _, dir := range []string{p, filepath.Join(p, "bin"), filepath.Join(p, "build", "bin")} {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return "", err
			}
			if found := proc.Find(program, abs); found != "" {
				return found, nil
			}
		}
		return "", fmt.Errorf("%w: option %s (--llama-cpp-path): no llama-server in %s, its bin or its build/bin", drivers.ErrNotFound, optPath, p)
	}
	if !proc.Executable(p) {
		return "", fmt.Errorf("%w: option %s (--llama-cpp-path): %s can't be run", drivers.ErrNotFound, optPath, p)
	}
	return filepath.Abs(p)
}

// files lists the GGUF files of the usual places, newest first.
func files(c drivers.Config) []weights.File {
	home := c.Getenv("HOME")
	if runtime.GOOS == "windows" {
		home = c.Getenv("USERPROFILE")
	}
	return weights.Find(weights.Places(home, func(k string) string { return c.Getenv(k) }, runtime.GOOS))
}

// isPath tells a path from a name.
func isPath(ref string) bool {
	return strings.HasSuffix(strings.ToLower(ref), ".gguf") || strings.ContainsAny(ref, `/\`)
}

// choose finds the file of a model reference: a path, a name or part of a name, or, where it is empty, the newest file
// that is a language model. The error says what was near.
func choose(ref string, found []weights.File) (string, weights.Info, error) {
	var none weights.Info
	if ref != "" {
		if _, err := os.Stat(ref); err == nil {
			info, err := weights.ReadGGUF(ref)
			if err != nil {
				return "", none, fmt.Errorf("model %s: %w", ref, advise(err))
			}
			abs, err := filepath.Abs(ref)
			return abs, info, err
		}
	}
	if len(found) == 0 {
		if ref != "" {
			return "", none, fmt.Errorf("%w: there is no file %s, and no GGUF file in the usual places", drivers.ErrModelNotFound, ref)
		}
		return "", none, fmt.Errorf("%w: no GGUF file in the caches of llama.cpp, Hugging Face and LM Studio or in ~/models; give one with --model FILE", drivers.ErrNoModel)
	}
	low := strings.ToLower(ref)
	var matching []weights.File
	for _, f := range found {
		if f.Path == ref || strings.ToLower(f.Name) == strings.TrimSuffix(low, ".gguf") {
			matching = []weights.File{f}
			break
		}
		if strings.Contains(strings.ToLower(f.Path), low) {
			matching = append(matching, f)
		}
	}
	if len(matching) == 0 {
		return "", none, fmt.Errorf("%w: no GGUF file has %q in its name; near: %s", drivers.ErrModelNotFound, ref, strings.Join(near(low, found, 5), ", "))
	}
	var last error
	for _, f := range matching {
		info, err := weights.ReadGGUF(f.Path)
		switch {
		case err != nil:
			last = err
		case !generates(info):
			last = fmt.Errorf("%w: %s is of architecture %s, which generates no text", drivers.ErrNoModel, f.Name, info.Architecture)
		default:
			return f.Path, info, nil
		}
	}
	return "", none, fmt.Errorf("none of %d GGUF files can be used: %w", len(matching), advise(last))
}

// advise says what to do about a file that is no whole model.
func advise(err error) error {
	switch {
	case errors.Is(err, weights.ErrCutOff):
		return fmt.Errorf("%w; download it again, or give another file with --model", err)
	case errors.Is(err, weights.ErrNotGGUF):
		return fmt.Errorf("%w; give a GGUF file with --model", err)
	}
	return err
}

// reason is what an error of a path says beside the path.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// generates tells language models from encoders and projectors.
func generates(i weights.Info) bool {
	a := i.Architecture
	return !strings.Contains(a, "bert") && !strings.Contains(a, "embed") && a != "clip" && a != "t5encoder" && a != "wavtokenizer-dec"
}

// near lists the n names that share most with a name.
func near(low string, found []weights.File, n int) []string {
	type scored struct {
		name  string
		score int
	}
	var list []scored
	for _, f := range found {
		list = append(list, scored{f.Name, likeness(low, strings.ToLower(f.Name))})
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].score > list[j].score })
	var names []string
	for _, s := range list[:min(n, len(list))] {
		names = append(names, s.name)
	}
	return names
}

// likeness counts the letter pairs of a that b has too.
func likeness(a, b string) int {
	n := 0
	for i := 0; i+2 <= len(a); i++ {
		if strings.Contains(b, a[i:i+2]) {
			n++
		}
	}
	return n
}
