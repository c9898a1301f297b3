package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/internal/identity"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/upload"
)

// noService is why nothing is sent.
const noService = "there is no results service yet"

// queue is where documents wait to be sent.
func queueOf(st *store.Store) *upload.Queue { return upload.OpenQueue(st.Dir()) }

// uploadOf is one run about to become a document.
type uploadOf struct {
	run    *record.Result
	anon   bool
	keys   []string                                       // that may stand in no text
	beside func(name string) ([]byte, error)              // reads a file of the run's folder
	own    func() (m seal.Material, lost bool, err error) // what the run was sealed with; lost: with a key that was dropped
	secret func() (identity.Secret, error)
}

// prepare makes the document.
func (a *app) prepare(u uploadOf) (upload.Document, error) {
	in := upload.Input{Result: u.run, FP: u.run.FP, Anonymous: u.anon || u.run.Anonymous, Clean: a.cleaner(u.keys)}
	sent, err := sentOf(u.beside)
	if err != nil {
		return upload.Document{}, err
	}
	if sent != nil {
		if in.Anonymous && !sent.anonymous {
			return upload.Document{}, usagef("run %s was sent by name as %s: an anonymous document of it would be tied to that one by its times", u.run.RunID, sent.id)
		}
		in.Supersedes = sent.id
	}
	m, lost, err := u.own()
	if err != nil {
		return upload.Document{}, err
	}
	in.Material = m
	if in.Anonymous {
		if in.Material, in.FP, err = anonymous(u, lost); err != nil {
			return upload.Document{}, err
		}
	}
	return upload.Prepare(in)
}

// anonymous is the material of an anonymous document, and an fp that fits no other: derived, so that its owner alone can make
// it again, or random where the run's key was to be forgotten.
func anonymous(u uploadOf, lost bool) (seal.Material, string, error) {
	if lost {
		var fp [32]byte
		_, _ = rand.Read(fp[:]) // never fails, by its contract
		return seal.Forgotten(), hex.EncodeToString(fp[:]), nil
	}
	secret, err := u.secret()
	if err != nil {
		return seal.Material{}, "", err
	}
	fp := secret.Derive(u.run.RunID, "anonymous/llm-speed/fp/v1")
	return seal.Unlinkable(secret.Derive, u.run.RunID), hex.EncodeToString(fp[:]), nil
}

// sentDocument is what was sent of a run before.
type sentDocument struct {
	id        string
	anonymous bool
}

// sentOf reads what was sent of a run before; nil where nothing was.
func sentOf(read func(string) ([]byte, error)) (*sentDocument, error) {
	file, err := read(store.UploadFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var d upload.Document
	var b *upload.Body
	if err == nil {
		d, err = upload.Open(file)
	}
	if err == nil {
		b, err = d.Body()
	}
	if err != nil {
		return nil, fmt.Errorf("what was sent of the run before can't be read: %w", err)
	}
	return &sentDocument{d.ID(), b.Anonymous}, nil
}

// cleaner takes out of a text what tells whose machine it is, and keys that are known.
func (a *app) cleaner(keys []string) func(string) string {
	words := a.redaction()
	var pairs []string
	for _, k := range keys {
		pairs = append(pairs, k, "***")
	}
	hide := strings.NewReplacer(pairs...)
	return func(text string) string { return words.text(hide.Replace(text)) }
}

// leastKey is the length of the shortest key that is looked for in texts: shorter ones are placeholders.
const leastKey = 5

// keys are what this process knows that must leave in no text: keys and credentials of the command line and the environment.
func (a *app) keys(t target) []string {
	list := []string{t.key, a.Env("LLM_SPEED_API_KEY")}
	addresses := []string{t.url}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		addresses = append(addresses, a.Env(name), a.Env(strings.ToLower(name)))
	}
	for _, raw := range addresses {
		if u, err := url.Parse(raw); err == nil && u.User != nil {
			password, _ := u.User.Password()
			list = append(list, u.User.Username(), password)
		}
	}
	if reg, err := registry(); err == nil {
		for _, spec := range reg.Specs() {
			list = append(list, a.Env(strings.ToUpper(strings.ReplaceAll(spec.Name, "-", "_"))+"_API_KEY"))
			for _, o := range spec.Options {
				if !o.Secret {
					continue
				}
				list = append(list, a.Env(o.Env))
				for _, given := range t.options {
					if name, value, _ := strings.Cut(given, "="); name == o.Name {
						list = append(list, value)
					}
				}
			}
		}
	}
	return slices.DeleteFunc(list, func(k string) bool { return len(k) < leastKey })
}

// queued prepares the document of the run that has ended, and says so. The run is saved already: a failure is a warning.
func (b *benchRun) queued(run *store.Run, r *record.Result, m seal.Material) {
	st, err := b.store()
	if err != nil {
		b.warn("not queued for upload: %v", err)
		return
	}
	q, why := queueOf(st), ""
	switch {
	case b.flags.noUpload:
		if _, err := q.Hold(run.ID()); err != nil {
			b.warn("--no-upload: %v; nothing of the run is queued", err)
			return
		}
		b.errf("not queued for upload, as asked; nothing was sent\n")
		return
	case q.Held(run.ID()):
		why = "it was held back before"
	case simulated(r):
		why = "its numbers are simulated"
	}
	if why != "" {
		b.errf("not queued for upload: %s; nothing was sent (llm-speed upload --dry-run %s shows what would be)\n", why, run.ID())
		return
	}
	d, err := b.prepare(uploadOf{
		run: r, anon: b.flags.anon || queuedAnonymously(q, run.ID()), keys: b.keys(b.flags.target), beside: run.ReadFile,
		own:    func() (seal.Material, bool, error) { return m, b.flags.forgetKey, nil },
		secret: func() (identity.Secret, error) { return identity.OpenKeys(st.Dir()) },
	})
	if err == nil {
		err = q.Put(run.ID(), d)
	}
	switch {
	case errors.Is(err, upload.ErrNothing):
		b.errf("not queued for upload: nothing was measured\n")
	case err != nil:
		b.warn("not queued for upload: %v; the run is saved all the same, and llm-speed upload %s tries again", err, run.ID())
	default:
		b.errf("queued for upload: %s; nothing was sent: %s (llm-speed upload --show %s, or --drop)\n", documentName(d), noService, run.ID())
	}
}

// queuedAnonymously reports whether a run's document was made anonymous by its owner: the one that follows is, too.
func queuedAnonymously(q *upload.Queue, runID string) bool {
	d, _, err := q.Get(runID)
	if err != nil {
		return false
	}
	body, err := d.Body()
	return err == nil && body.Anonymous
}

// documentName names a document for a person.
func documentName(d upload.Document) string {
	kind := ""
	if body, err := d.Body(); err == nil && body.Anonymous {
		kind = "anonymous, "
	}
	return fmt.Sprintf("%s, %s%.0f kB", d.ID(), kind, float64(len(d.Encode()))/1000)
}

// simulated reports whether the numbers of a run are the simulator's.
func simulated(r *record.Result) bool {
	return slices.ContainsFunc(r.Flags, func(f record.Flag) bool { return f.Name == "simulated" })
}
