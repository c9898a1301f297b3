package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/seal"
)

func (a *app) runsExport() *cobra.Command {
	var out string
	var bare bool
	cmd := &cobra.Command{
		Use: "export RUN...", Short: "Write runs to one file, for another machine",
		Long: `Write runs to one file: their results, seals and recordings, each checked against the hash in its
result. llm-speed runs import takes it on another machine. The same runs give the same bytes.

RUN is a run's id or the beginning of it, "last", or "last~1" for the one before. No key goes with it.
Recordings hold the prompts and answers of the run (of hosted services only with --keep-text).`,
		Example: `  llm-speed runs export last -o run.tar
  llm-speed runs export last last~1 --no-recordings -o - | ssh other llm-speed runs import -`,
		Args: between(1, 10_000),
		RunE: func(_ *cobra.Command, args []string) error { return a.exportRuns(args, out, bare) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to `FILE`; - is stdout")
	cmd.Flags().BoolVar(&bare, "no-recordings", false, "leave the recordings out: small, but nothing can be recomputed")
	return cmd
}

func (a *app) exportRuns(refs []string, out string, bare bool) error {
	if out == "" {
		return usagef("export: name a file: -o runs.tar, or -o - for stdout")
	}
	if out == "-" && a.OutTTY {
		return usagef("export: an archive is nothing for a terminal: -o runs.tar")
	}
	st, err := a.store()
	if err != nil {
		return err
	}
	var ids []string
	for _, ref := range refs {
		id, err := st.Find(ref)
		if err != nil {
			return fail(exitUsage, "llm-speed runs", err)
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	e, err := st.Export(ids, bare)
	if errors.Is(err, seal.ErrBad) {
		return fail(exitVerify, "", err)
	}
	if err != nil {
		return err
	}
	if out == "-" {
		return e.Write(a.Stdout)
	}
	size, err := writeWhole(out, e.Write)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	a.errf("wrote %s: %s, %.1f MB\n", out, report.Count(len(ids), "run"), float64(size)/1e6)
	if bare := e.Unsealed(); len(bare) > 0 {
		a.warn("without a seal: %s; llm-speed seal RUN makes one", strings.Join(bare, " "))
	}
	return nil
}

// writeWhole writes a file that is there whole or not at all: what stood in its place stays until it is.
func writeWhole(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".llm-speed-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	mode := os.FileMode(0o644)
	if old, err := os.Stat(path); err == nil {
		mode = old.Mode().Perm()
	}
	err = write(f)
	if info, statErr := f.Stat(); statErr == nil {
		size = info.Size()
	}
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return size, err
	}
	return size, os.Rename(f.Name(), path)
}
