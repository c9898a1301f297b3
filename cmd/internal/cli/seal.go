package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/identity"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
)

// material is what a run is sealed with: derived from this installation's secret, or random and dropped.
func (a *app) material(st *store.Store, runID string, forget bool) (seal.Material, error) {
	if forget {
		return seal.Forgotten(), nil
	}
	secret, err := identity.OpenKeys(st.Dir())
	if err != nil {
		return seal.Material{}, err
	}
	return seal.Derived(secret.Derive, runID), nil
}

// sealRun seals the document of a run as it is on the disk, and gives the seal.
func sealRun(run *store.Run, m seal.Material) (seal.Envelope, error) {
	doc, err := run.Document()
	if err != nil {
		return seal.Envelope{}, err
	}
	e, err := seal.Run(doc, m)
	if err != nil {
		return e, err
	}
	return e, run.SaveFile(store.SealFile, e.Encode())
}

// sealed seals the run that has ended, queues what of it would be uploaded, and says so. A run with which that fails is as
// good as it was.
func (b *benchRun) sealed(run *store.Run, r *record.Result) {
	st, err := b.store()
	var m seal.Material
	if err == nil {
		m, err = b.material(st, run.ID(), b.flags.forgetKey)
	}
	if err != nil {
		b.warn("not sealed, and not queued for upload: %v; llm-speed seal %s tries again", err, run.ID())
		return
	}
	if e, err := sealRun(run, m); err != nil {
		b.warn("not sealed: %v; llm-speed seal %s tries again", err, run.ID())
	} else {
		b.errf("sealed: %s\n", e.ID())
	}
	b.queued(run, r, m)
}

func (a *app) sealCmd() *cobra.Command {
	var out string
	var forget, again bool
	cmd := &cobra.Command{
		Use: "seal RUN", Short: "Sign a saved run, or hand its seal on as one file",
		Long: `Sign the exact bytes of a saved run's result, so that anybody sees whether they were changed since.
bench seals every run when it ends; this is for runs of before, and for handing on: with -o the file
holds the result and its seal, and llm-speed verify FILE checks it anywhere, offline.

RUN is a run's id or the beginning of it, "last", or "last~1" for the one before. Runs that were
imported are not sealed: they were not measured here.`,
		Example: `  llm-speed seal last
  llm-speed seal last -o result.seal.json
  llm-speed verify result.seal.json`,
		Args: between(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.sealSaved(args[0], out, forget, again) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the result with its seal to `FILE`; - is stdout")
	cmd.Flags().BoolVar(&forget, "forget-key", false, "sign with a random key that is dropped: nobody can sign for this run again")
	cmd.Flags().BoolVar(&again, "again", false, "replace a seal that does not fit the result any more")
	return cmd
}

// sealSaved seals a run that is in the store, where it has no seal, and writes it out.
func (a *app) sealSaved(ref, out string, forget, again bool) error {
	st, err := a.store()
	if err != nil {
		return err
	}
	run, _, err := st.Resume(ref)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fail(exitUsage, "llm-speed runs", err)
		}
		return err
	}
	defer run.Close()
	e, fits, err := sealOf(run)
	switch {
	case err == nil && fits == nil && (!forget || !again):
		a.errf("%s is sealed already: %s\n", run.ID(), e.ID())
	case run.Imported() != nil:
		return fail(exitUsage, "", fmt.Errorf("run %s was imported: only who measured it can seal it", run.ID()))
	case err == nil && fits != nil && !again, err != nil && !errors.Is(err, fs.ErrNotExist) && !again:
		return fail(exitVerify, "llm-speed seal "+run.ID()+" --again   (seals the run as it is now)", fmt.Errorf("run %s has a seal that is not good: %w", run.ID(), errors.Join(err, fits)))
	default:
		st, err := a.store()
		if err != nil {
			return err
		}
		m, err := a.material(st, run.ID(), forget)
		if err != nil {
			return err
		}
		if e, err = sealRun(run, m); err != nil {
			return err
		}
		a.errf("sealed %s: %s\n", run.ID(), e.ID())
	}
	if out == "" {
		return nil
	}
	if e.Document, err = run.Document(); err != nil {
		return err
	}
	return a.writeOut(out, e.Encode())
}

// sealOf reads the seal of a run, and says whether it fits the run's document. err is fs.ErrNotExist where there is none.
func sealOf(run *store.Run) (e seal.Envelope, fits, err error) {
	file, err := run.ReadFile(store.SealFile)
	if err != nil {
		return e, nil, err
	}
	e, statement, err := seal.OpenRun(file)
	if err != nil {
		return e, nil, err
	}
	doc, err := run.Document()
	if err != nil {
		return e, nil, err
	}
	return e, statement.Fits(doc), nil
}

// writeOut writes to a file, or to stdout for -.
func (a *app) writeOut(out string, text []byte) error {
	if out == "-" {
		_, err := a.Stdout.Write(text)
		return err
	}
	file, err := prepareFile(out)
	if err == nil {
		err = file.write(text)
	}
	if err != nil {
		return fail(exitFailed, "", err)
	}
	a.errf("wrote %s, %.0f kB\n", out, float64(len(text))/1000)
	return nil
}
