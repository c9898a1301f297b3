package hw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// toolLimit is how long the GPU vendors' tools may take together, less than the probe itself: what the kernel shows is then
// still in time.
const toolLimit = probeLimit - 200*time.Millisecond

var gpuKeys = []string{"gpus", "runtimes.cuda", "runtimes.rocm"}

// linuxGPUs asks the vendors' tools and the kernel at once.
func (s source) linuxGPUs(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit+s.patience)
	defer cancel()
	shown := drmGPUs(s.files)
	isAMD := func(g GPU) bool { return g.Vendor == "amd" }
	nvidia := answerOf(ctx, func() toldGPUs {
		list, cuda, err := s.nvidia(ctx)
		return toldGPUs{list, cuda, err}
	})
	amd := func() toldGPUs { return toldGPUs{} }
	// AMD's tools are slow scripts: without a card, or a kernel that could hide one, they are not asked.
	if slices.ContainsFunc(shown, isAMD) || len(shown) == 0 {
		amd = answerOf(ctx, func() toldGPUs {
			list, err := s.amd(ctx)
			return toldGPUs{list: list, err: err}
		})
	}
	byNvidia, byAMD := nvidia(), amd()
	nvidias, cuda, nvidiaErr, amds, amdErr := byNvidia.list, byNvidia.cuda, byNvidia.err, byAMD.list, byAMD.err
	list := slices.Clone(nvidias)
	for _, g := range mergeAMD(shown, amds) {
		if g.Vendor == "nvidia" && len(nvidias) > 0 {
			continue
		}
		for _, field := range nulls(g) {
			why := ""
			switch {
			case g.Vendor == "amd" && amdErr != nil:
				why = amdErr.Error()
			case g.Vendor == "nvidia" && nvidiaErr != nil:
				why = nvidiaErr.Error()
			case g.Vendor == "intel" && field == "vram_total_bytes":
				why = "the kernel does not show it; graphics inside a processor have none of their own"
			}
			if g.why != nil && why != "" {
				g.why[field] = oneLine(why)
			}
		}
		list = append(list, g)
	}
	// A tool that is not there says nothing about GPUs; one that fails hides some.
	missing := nvidiaErr
	if late(amdErr) || !slices.ContainsFunc(list, isAMD) && !onlyMissing(amdErr) {
		missing = errors.Join(missing, amdErr)
	}
	return s.enterGPUs(list, cuda, missing), nil
}

// toldGPUs is what a vendor's tools have said.
type toldGPUs struct {
	list []GPU
	cuda string
	err  error
}

// answerOf begins to ask, and gives a function that waits for the answer, and not much longer than the context lasts: what the
// kernel shows may not be lost with a tool whose end, or whose rubbish, takes its time.
func answerOf(ctx context.Context, ask func() toldGPUs) func() toldGPUs {
	done := make(chan toldGPUs, 1)
	go func() { done <- ask() }()
	return func() toldGPUs {
		select {
		case a := <-done:
			return a
		case <-ctx.Done():
		}
		select {
		case a := <-done:
			return a
		case <-time.After(endsWithin + 10*time.Millisecond):
			return toldGPUs{err: fmt.Errorf("no answer in time: %w", ctx.Err())}
		}
	}
}

// onlyMissing says that an error is of tools that are not installed and of nothing else.
func onlyMissing(err error) bool {
	if err == nil {
		return true
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, errNoTool.Error()) {
			return false
		}
	}
	return true
}

// late says that a tool would perhaps have answered, given more time.
func late(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

// rocmVersion reads the version of ROCm where its packages leave it: in the usual folder, or in one that has it in its name.
func rocmVersion(files fs.FS) string {
	if v := read(files, "opt/rocm/.info/version"); v != "" {
		return v
	}
	newest := ""
	found, _ := fs.Glob(files, "opt/rocm-*/.info/version")
	for _, f := range found {
		if v := read(files, f); newest == "" || versionLess(newest, v) {
			newest = v
		}
	}
	return newest
}

// versionLess compares the numbers of two versions one by one: 6.10.0 comes after 6.4.2.
func versionLess(a, b string) bool {
	cut := func(r rune) bool { return r < '0' || r > '9' }
	x, y := strings.FieldsFunc(a, cut), strings.FieldsFunc(b, cut)
	for i := range min(len(x), len(y)) {
		if m, n := number(x[i]), number(y[i]); m != n {
			return m < n
		}
	}
	return len(x) < len(y)
}

// enterGPUs puts the list in, with a reason for each field that is null.
func (s source) enterGPUs(list []GPU, cuda string, missing error) func(*Fingerprint, map[string]string) {
	rocm := rocmVersion(s.files)
	return func(fp *Fingerprint, reasons map[string]string) {
		if missing == nil || len(list) > 0 {
			fp.GPUs = list
			if fp.GPUs == nil {
				fp.GPUs = []GPU{}
			}
		}
		if missing != nil {
			reasons["gpus"] = oneLine("may be incomplete: " + missing.Error())
			fp.late = late(missing)
		}
		for i, g := range list {
			for _, field := range nulls(g) {
				reasons[fmt.Sprintf("gpus[%d].%s", i, field)] = cmp.Or(g.why[field], silent)
			}
			if why := g.why["mig_instances"]; why != "" {
				reasons[fmt.Sprintf("gpus[%d].mig_instances", i)] = oneLine(why)
			}
		}
		if fp.Runtimes.CUDA = some(cuda); cuda == "" {
			reasons["runtimes.cuda"] = "no NVIDIA driver tells one"
		}
		if fp.Runtimes.ROCm = some(rocm); rocm == "" {
			reasons["runtimes.rocm"] = "not installed in its usual places"
		}
	}
}
