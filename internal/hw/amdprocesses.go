package hw

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// kfdDir is where the kernel shows who computes by ROCm: a folder a process, with the memory that it holds on each GPU.
const kfdDir = "sys/class/kfd/kfd/proc"

// linuxProcesses counts who computes, by NVIDIA's tool, and by AMD's driver where that tool is not there.
func (s source) linuxProcesses(ctx context.Context) (func(*Condition, map[string]string), error) {
	enter, err := s.nvidiaProcesses(ctx)
	if !errors.Is(err, errNoList) {
		return enter, err
	}
	n, memory, ok := kfdProcesses(s.files)
	if !ok {
		return nil, err
	}
	return func(c *Condition, reasons map[string]string) {
		if c.GPUProcesses, c.GPUProcessRAM = &n, memory; memory == nil {
			reasons["gpu_processes_bytes"] = "the kernel does not show it of all of them"
		}
	}, nil
}

// kfdProcesses counts the processes that use ROCm's driver, and the memory that they hold; ok is false where there is no such
// driver.
func kfdProcesses(files fs.FS) (n int, memory *int64, ok bool) {
	list, err := fs.ReadDir(files, kfdDir)
	if err != nil {
		return 0, nil, false
	}
	memory = new(int64)
	for _, e := range list {
		if _, err := strconv.ParseUint(e.Name(), 10, 32); err != nil {
			continue
		}
		n++
		parts, _ := fs.ReadDir(files, kfdDir+"/"+e.Name())
		known := false
		for _, p := range parts {
			if !strings.HasPrefix(p.Name(), "vram_") {
				continue
			}
			b, err := strconv.ParseInt(read(files, kfdDir+"/"+e.Name()+"/"+p.Name()), 10, 50)
			if known = err == nil && b >= 0; !known {
				break
			}
			if memory != nil {
				*memory += b
			}
		}
		if !known {
			memory = nil
		}
	}
	return n, memory, true
}
