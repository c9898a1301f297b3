package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/upload"
)

// uploadProves is what a good upload document means, and what it does not.
const uploadProves = `
A good document proves that its counts and times are, to the byte, those that were signed with this key.
It does not prove who signed it, when, on which machine, or that anything was measured: whoever has this
program can make a key and sign anything. The figures above were computed from its counts and times here.
`

// verifyUpload checks a document that would be, or was, uploaded.
func (a *app) verifyUpload(name string, file []byte) error {
	d, err := upload.Open(file)
	if err != nil {
		return badSeal(name, err)
	}
	b, err := d.Body()
	if err != nil {
		return badSeal(name, err)
	}
	run := "not named: the document is anonymous"
	if !b.Anonymous {
		run = b.RunID + ", " + b.State
	}
	beside := "not in this file"
	switch {
	case d.FP != "":
		beside = "the one that was signed for"
	case b.FPCommit == "":
		beside = "none"
	}
	if b.Simulated {
		a.outf("SIMULATED: these are numbers of the built-in simulator. They say nothing about any real model or machine.\n")
	}
	a.outf("good document %s\n  run        %s\n  of         %s\n", d.ID(), run, strings.Join(nonEmpty(b.Backend.Name, b.Model.Name, b.Model.Quant), " "))
	if k := kinds(b); k != "" {
		a.outf("  kind       %s\n", k)
	}
	a.outf("  signed     %d bytes; envelope sha256 %s\n  key        ed25519 %s%s\n  fp         %s\n", len(d.Envelope.Payload), d.SHA256(), b.Pub, a.ours(d.Envelope, b.RunID), beside)
	lines := [][]string{{"row", "status", "TTFT", "prefill tok/s", "decode tok/s", "aggregate tok/s", "wall clock"}}
	for i := range b.Rows {
		r := &b.Rows[i]
		f := r.Figures()
		lines = append(lines, []string{r.Key, r.Status, shownMs(f.TTFTms), shownRate(f.PrefillTPS), shownRate(f.DecodeTPS), shownRate(f.AggregateTPS), shownMs(f.Wallms)})
	}
	a.outf("\n%s%s", aligned(lines), uploadProves)
	return nil
}

func shownMs(x *float64) string {
	if x == nil {
		return "–"
	}
	return report.Millis(*x)
}

func shownRate(x *float64) string {
	if x == nil {
		return "–"
	}
	return report.Number(*x)
}

// verifyReceipt checks the receipt of a document, and says what it proves. doc is nil where there is no document beside it.
func (a *app) verifyReceipt(what string, file, doc []byte, key string) error {
	s, err := upload.OpenReceipt(file, key)
	unknown := errors.Is(err, upload.ErrUnknownKey)
	if err != nil && !unknown {
		return badSeal(what, err)
	}
	of := ", which is not here: whether it is of this run can't be said"
	if doc != nil {
		d, err := upload.Open(doc)
		if err == nil {
			err = s.Fits(d)
		}
		if err != nil {
			return badSeal(what, err)
		}
		of = ", which is here, to the byte"
	}
	head, by := "good receipt", "signed by "+s.By
	if unknown {
		head, by = "receipt     ", "signed by "+s.By+", NOT CHECKED: no service's key is known here; --service-key gives one"
		if key != "" {
			by = "signed by " + s.By + ", NOT CHECKED: by another key than that of --service-key"
		}
	}
	a.outf("%s %s\n  document   %s%s\n  received   %s, entry %d of the log, by the service's own word\n  key        %s\n", head, what, s.ID, of, s.ReceivedAt.UTC().Format(time.RFC3339), s.LogIndex, by)
	if unknown && key != "" {
		return fail(exitVerify, "", fmt.Errorf("%s: the receipt is not signed with the key of --service-key", what))
	}
	return nil
}

// runReceipt checks the receipt beside a saved run, where there is one.
func (a *app) runReceipt(saved *store.Saved, key string) error {
	file, err := saved.ReadFile(store.ReceiptFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	doc, err := saved.ReadFile(store.UploadFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if doc != nil {
		if d, err := upload.Open(doc); err == nil {
			if b, err := d.Body(); err == nil && !b.Anonymous && b.RunID != saved.Result.RunID {
				return badSeal(saved.Result.RunID, fmt.Errorf("%w: the document beside the run is of run %s", seal.ErrBad, b.RunID))
			}
		}
	}
	return a.verifyReceipt("of run "+saved.Result.RunID, file, doc, key)
}

// besideFile is a file that lies beside another one; nil where there is none.
func besideFile(path, name string) ([]byte, error) {
	b, err := store.ReadBounded(filepath.Join(filepath.Dir(path), name), upload.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}
