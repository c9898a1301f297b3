package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/identity"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/upload"
)

// maxSealed bounds a file that verify takes into memory: a result of the largest size, in base64, with its seal.
const maxSealed = 360 << 20

func (a *app) verifyCmd() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "verify FILE|RUN", Short: "Check the seal of a result, offline, and say what it proves",
		Long: `Check the seal of a result. It needs no network and trusts nobody.

FILE is what seal -o or runs export wrote, a run's seal.json, a result.json with its seal.json beside
it, what upload --dry-run wrote, or a receipt; RUN is a run's id or the beginning of it, "last", or
"last~1": its receipt is checked too, where it has one.

Exit code 5 where a seal is not good, 1 where there is none.`,
		Example: `  llm-speed verify last
  llm-speed verify result.seal.json
  llm-speed verify runs.tar`,
		Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.verify(args[0], key) },
	}
	cmd.Flags().StringVar(&key, "service-key", "", "public `KEY` that a receipt is to be signed with, as name+1234abcd+AbC…")
	return cmd
}

// proves is what a good seal means, and what it does not.
const proves = `
A good seal proves that the result is, to the byte, the one that was sealed with this key, and so are the
recordings that the result names.
It does not prove who sealed it, when, on which machine, or that the numbers were measured: whoever has this
program can make a key and seal anything. llm-speed runs recompute RUN checks that the figures follow from the
recordings.
`

func (a *app) verify(ref, key string) error {
	info, err := os.Stat(ref)
	if err != nil || info.IsDir() {
		return a.verifyRun(ref, key)
	}
	if !info.Mode().IsRegular() {
		return usagef("%s is no regular file", ref)
	}
	f, err := os.Open(ref)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [16]byte
	n, _ := io.ReadFull(f, head[:])
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if bytes.HasPrefix(head[:n], []byte("export.json")) {
		return a.verifyArchive(ref, f)
	}
	if info.Size() > maxSealed {
		return usagef("%s has %d bytes; the most is %d", ref, info.Size(), maxSealed)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSealed+1))
	if err != nil {
		return err
	}
	switch {
	case upload.Is(text):
		return a.verifyUpload(ref, text)
	case upload.IsReceipt(text):
		doc, err := besideFile(ref, store.UploadFile)
		if err != nil {
			return err
		}
		return a.verifyReceipt(ref, text, doc, key)
	case !bytes.HasPrefix(text, []byte(`{"payloadType"`)):
		return a.verifyRun(ref, key) // a result, which its seal stands beside
	}
	e, statement, err := seal.OpenRun(text)
	if err != nil {
		return badSeal(ref, err)
	}
	if e.Document == nil { // a run's own seal.json
		saved := &store.Saved{Path: filepath.Join(filepath.Dir(ref), "result.json")}
		doc, err := saved.Document()
		if errors.Is(err, fs.ErrNotExist) {
			return fail(exitUsage, "llm-speed seal RUN -o FILE   (holds both)", fmt.Errorf("%s is a seal without its result, and there is no result.json beside it: whether they fit can't be said", ref))
		}
		if err == nil {
			err = statement.Fits(doc)
		}
		if err != nil {
			return badSeal(ref, err)
		}
	}
	a.goodSeal(e, statement, "not in this file")
	a.outf("%s", proves)
	return nil
}

// verifyRun checks the seal of a saved run, and its recordings against the hashes in its result.
func (a *app) verifyRun(ref, key string) error {
	saved, err := a.load(ref)
	if err != nil {
		return err
	}
	id := saved.Result.RunID
	file, err := saved.ReadFile(store.SealFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitFailed, "llm-speed seal "+id, fmt.Errorf("run %s has no seal: whether its result was changed can't be said", id))
	}
	if err != nil {
		return err
	}
	e, statement, err := seal.OpenRun(file)
	if err == nil {
		var doc []byte
		if doc, err = saved.Document(); err == nil {
			err = statement.Fits(doc)
		}
	}
	if err != nil {
		return badSeal(id, err)
	}
	n, err := saved.CheckFiles()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.goodSeal(e, statement, "not here: only the result was checked")
	case err != nil:
		return badSeal(id, fmt.Errorf("%w: the result is the sealed one, its recordings are not: %w", seal.ErrBad, err))
	default:
		a.goodSeal(e, statement, report.Count(n, "file")+", each as the result names it")
	}
	if saved.Imported() != nil {
		a.outf("  from       elsewhere: the run was imported\n")
	}
	a.outf("%s", proves)
	return a.runReceipt(saved, key)
}

// verifyArchive checks all runs of an exported file.
func (a *app) verifyArchive(name string, f io.Reader) error {
	runs, err := store.Inspect(f)
	if err != nil {
		return badSeal(name, err)
	}
	unsealed := 0
	for _, r := range runs {
		if r.Seal == nil {
			unsealed++
			a.outf("no seal      %s: whether its result was changed can't be said\n", r.RunID)
			continue
		}
		e, statement, err := seal.OpenRun(r.Seal)
		if err != nil {
			return badSeal(r.RunID, err)
		}
		files := "not in this file"
		if r.Files > 0 {
			files = report.Count(r.Files, "file") + ", each as the result names it"
		}
		a.goodSeal(e, statement, files)
	}
	if unsealed > 0 {
		return fail(exitFailed, "", fmt.Errorf("%d of %s have no seal", unsealed, report.Count(len(runs), "run")))
	}
	a.outf("%s", proves)
	return nil
}

// goodSeal shows what was checked.
func (a *app) goodSeal(e seal.Envelope, s seal.Statement, recordings string) {
	a.outf("good seal    %s\n  run        %s, %s when it was sealed\n  result     %d bytes, sha256 %s\n  recordings %s\n  key        ed25519 %s%s\n",
		e.ID(), s.RunID, s.State, s.ResultBytes, s.ResultSHA256, recordings, e.Public(), a.ours(e, s.RunID))
}

// ours says whether this installation can make the key again.
func (a *app) ours(e seal.Envelope, runID string) string {
	st, err := a.store()
	if err != nil {
		return ""
	}
	secret, ok, err := identity.LookKeys(st.Dir())
	if err == nil && ok && seal.Derived(secret.Derive, runID).Key.Public() == e.Public() {
		return ", of this installation"
	}
	return ""
}

func badSeal(what string, err error) error {
	hint := ""
	if errors.Is(err, seal.ErrBad) {
		hint = "take the file from where it came from once more; if it is the same there, do not believe it"
	}
	return fail(exitVerify, hint, fmt.Errorf("%s: %w", what, err))
}
