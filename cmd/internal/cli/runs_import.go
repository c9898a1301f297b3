package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/llamabench"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
)

func (a *app) runsImport() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Take runs from a file that runs export wrote, or llama-bench",
		Long: `Take the runs of a file that runs export wrote. All of it is checked first: its hashes, its seals, its
names; nothing is taken of a file with a bit that was changed. Runs are marked as imported. One that is
here already stays; where another run has its id nothing is taken. - is stdin.

What llama-bench -o json or -o jsonl wrote is taken too, whatever the file is called: as a run of its own
kind, with llama-bench's figures by llama-bench's definitions. It is never ranked, and never lined up
with llm-speed's own: docs/agreement.md says how they differ.`,
		Example: `  llm-speed runs import run.tar
  llama-bench -m model.gguf -o jsonl | llm-speed runs import -`,
		Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.importRuns(args[0]) },
	}
}

func (a *app) importRuns(name string) error {
	st, err := a.store()
	if err != nil {
		return err
	}
	from := a.Stdin
	if name != "-" {
		info, err := os.Stat(name)
		if err != nil {
			return fail(exitUsage, "", err)
		}
		if !info.Mode().IsRegular() {
			return usagef("%s is no regular file", name)
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	}
	in := bufio.NewReader(from)
	// An archive begins with the name of its first file.
	if head, _ := in.Peek(len("export.json")); !bytes.Equal(head, []byte("export.json")) {
		return a.importBench(st, name, in)
	}
	list, err := st.Import(in)
	a.tellImported(list)
	switch {
	case errors.Is(err, store.ErrConflict):
		return fail(exitUsage, "", fmt.Errorf("%s: %w", name, err))
	case errors.Is(err, seal.ErrBad):
		return fail(exitVerify, "", fmt.Errorf("%s: %w", name, err))
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// importBench takes the runs of what llama-bench wrote.
func (a *app) importBench(st *store.Store, name string, from io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(from, llamabench.MaxBytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > llamabench.MaxBytes {
		return fail(exitFailed, "", fmt.Errorf("%s: no archive of runs, and larger than the %d bytes that a file of llama-bench may have; nothing was imported", name, llamabench.MaxBytes))
	}
	doc, err := llamabench.Parse(text)
	switch {
	case errors.Is(err, llamabench.ErrOther):
		return fail(exitFailed, importHint(text, name), fmt.Errorf("%s: neither an archive of runs export nor a file of llama-bench: %w; nothing was imported", name, err))
	case err != nil:
		return fmt.Errorf("%s: llama-bench: %w; nothing was imported", name, err)
	}
	sum := sha256.Sum256(text)
	list, err := st.Adopt(llamabench.Results(doc), hex.EncodeToString(sum[:]))
	a.tellImported(list)
	if errors.Is(err, store.ErrConflict) {
		return fail(exitUsage, "", fmt.Errorf("%s: %w", name, err))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if doc.Cut != "" {
		a.warn("%s was cut off %s: what is whole was imported", name, doc.Cut)
	}
	for _, in := range list {
		for _, row := range in.Result.Rows {
			for _, f := range row.Flags {
				if f.Name == llamabench.Flag {
					continue
				}
				a.warn("%s %s: %s: %s", in.RunID, row.Key, report.FlagText(f.Name), f.Evidence)
			}
		}
	}
	return nil
}

// importHint is what one may have meant with a file that is no archive.
func importHint(text []byte, name string) string {
	if _, err := store.Parse(text); err == nil {
		return "llm-speed runs show " + name + "   (compare, report and explain take it by its path too)"
	}
	return ""
}

// tellImported says what came of each run.
func (a *app) tellImported(list []store.Imported) {
	for _, in := range list {
		if in.Result == nil {
			continue
		}
		line := "imported " + in.RunID
		switch {
		case in.Known && in.Result.Kind == record.LlamaBench:
			line = in.RunID + " is here already"
		case in.Known:
			line = in.RunID + " is here already, to the byte"
		}
		switch {
		case in.Result.Kind == record.LlamaBench:
			line += ": " + report.Count(len(in.Result.Planned), "test") + " of llama-bench, never ranked"
		case in.Seal != "":
			line += ", sealed " + in.Seal
		default:
			line += ", without a seal"
		}
		a.errf("%s\n", line)
	}
}
