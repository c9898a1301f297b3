package hw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// toolLimit is how long the GPU vendors' tools may take together, less than the probe itself: what the kernel shows is then
// still in time.
const toolLimit = probeLimit - 150*time.Millisecond

var gpuKeys = []string{"gpus", "runtimes.cuda", "runtimes.rocm"}

// linuxGPUs asks the vendors' tools and the kernel at once.
func (s source) linuxGPUs(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit+s.patience)
	defer cancel()
	var nvidias, amds []GPU
	var cuda string
	var nvidiaErr, amdErr error
	shown := drmGPUs(s.files)
	isAMD := func(g GPU) bool { return g.Vendor == "amd" }
	var wg sync.WaitGroup
	wg.Go(func() { nvidias, cuda, nvidiaErr = s.nvidia(ctx) })
	// AMD's tools are slow scripts: without a card, or a kernel that could hide one, they are not asked.
	if slices.ContainsFunc(shown, isAMD) || len(shown) == 0 {
		wg.Go(func() { amds, amdErr = s.amd(ctx) })
	}
	wg.Wait()
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

// enterGPUs puts the list in, with a reason for each field that is null.
func (s source) enterGPUs(list []GPU, cuda string, missing error) func(*Fingerprint, map[string]string) {
	rocm := read(s.files, "opt/rocm/.info/version")
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
		}
		if fp.Runtimes.CUDA = some(cuda); cuda == "" {
			reasons["runtimes.cuda"] = "no NVIDIA driver tells one"
		}
		if fp.Runtimes.ROCm = some(rocm); rocm == "" {
			reasons["runtimes.rocm"] = "not installed in its usual place"
		}
	}
}
