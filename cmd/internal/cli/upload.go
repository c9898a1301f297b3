package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/identity"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/seal"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/upload"
)

// uploadFlags say what upload is to do.
type uploadFlags struct {
	dryRun, show, list, drop, anon, json bool
}

func (a *app) uploadCmd() *cobra.Command {
	var f uploadFlags
	cmd := &cobra.Command{
		Use: "upload [RUN...]", Short: "Show, queue or drop what of a run would be uploaded",
		Long: `Show, queue or drop what of a run would be uploaded: a summary of counts and times, and what they are
of; no prompt, no answer, no path, no key, no name of a host or user (docs/upload.md lists every field).

There is no results service yet, so nothing is ever sent. bench queues the document of a run when it ends;
upload RUN queues it now. That fails with exit code 1 all the same, since nothing was uploaded.

RUN is a run's id or the beginning of it, "last", or "last~1" for the one before.`,
		Example: `  llm-speed upload --show last            # what it says, readable
  llm-speed upload --dry-run last         # the exact bytes that would be sent, on stdout
  llm-speed upload --dry-run --anon last
  llm-speed upload --list
  llm-speed upload --drop last`,
		Args: between(0, 10_000),
		RunE: func(_ *cobra.Command, args []string) error { return a.upload(f, args) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&f.dryRun, "dry-run", false, "write the exact bytes that would be sent to stdout; queue and send nothing")
	fl.BoolVar(&f.show, "show", false, "show the document decoded; queue and send nothing")
	fl.BoolVar(&f.anon, "anon", false, "nothing in the document ties it to another one of this installation")
	fl.BoolVar(&f.list, "list", false, "list what is queued")
	fl.BoolVar(&f.json, "json", false, "with --list: as JSON")
	fl.BoolVar(&f.drop, "drop", false, "take the document of a run out of the queue; bench does not queue it again")
	return cmd
}

func (a *app) upload(f uploadFlags, refs []string) error {
	modes := 0
	for _, on := range []bool{f.dryRun, f.show, f.list, f.drop} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return usagef("upload: --dry-run, --show, --list and --drop exclude each other")
	case f.json && !f.list:
		return usagef("upload: --json goes with --list")
	case f.anon && (f.list || f.drop):
		return usagef("upload: --anon is of a document that is made; --list and --drop make none")
	case f.list && len(refs) > 0:
		return usagef("upload --list takes no run")
	case (f.dryRun || f.show) && len(refs) != 1:
		return usagef("upload: name one run, as in llm-speed upload --dry-run last")
	case f.drop && len(refs) == 0:
		return usagef("upload --drop: name a run; llm-speed upload --list shows those that are queued")
	case f.anon && len(refs) == 0:
		return usagef("upload --anon: name a run")
	}
	st, err := a.store()
	if err != nil {
		return err
	}
	switch {
	case f.list:
		return a.listQueue(st, f.json)
	case f.drop:
		return a.dropQueued(st, refs)
	case f.dryRun, f.show:
		return a.showUpload(st, refs[0], f)
	case len(refs) > 0:
		return a.queueRuns(st, refs, f.anon)
	}
	return a.sendQueue(st)
}

// nothingSent ends a command that would have sent something.
func nothingSent(waiting int) error {
	return fail(exitFailed, "llm-speed upload --list", fmt.Errorf("nothing was sent: %s; %s queued", noService, report.Count(waiting, "document")))
}

// sendQueue is upload without a run: what sends, once there is whom to send to.
func (a *app) sendQueue(st *store.Store) error {
	list, err := queueOf(st).List()
	if err != nil {
		return err
	}
	return nothingSent(len(list))
}

// queueRuns queues the documents of runs.
func (a *app) queueRuns(st *store.Store, refs []string, anon bool) error {
	for _, ref := range refs {
		if err := a.queueRun(st, ref, anon); err != nil {
			return err
		}
	}
	return a.sendQueue(st)
}

func (a *app) queueRun(st *store.Store, ref string, anon bool) error {
	run, r, err := st.Resume(ref) // its lock: bench may be about to change it
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return fail(exitUsage, "llm-speed runs", err)
		}
		return err
	}
	defer run.Close()
	q := queueOf(st)
	d, err := a.documentOf(st, run.ID(), r, run.Imported() != nil, run.ReadFile, anon || queuedAnonymously(q, run.ID()))
	if err != nil {
		return err
	}
	if old, _, err := q.Get(run.ID()); err == nil && old.ID() == d.ID() && !q.Held(run.ID()) {
		a.errf("%s is queued already: %s\n", run.ID(), documentName(d))
		return nil
	}
	if err := q.Put(run.ID(), d); err != nil {
		return err
	}
	if simulated(r) {
		a.warn("%s: its numbers are simulated, and the document says so: no service will rank them", run.ID())
	}
	a.errf("queued %s: %s\n", run.ID(), documentName(d))
	return nil
}

// documentOf makes the document of a saved run.
func (a *app) documentOf(st *store.Store, id string, r *record.Result, imported bool, read func(string) ([]byte, error), anon bool) (upload.Document, error) {
	if imported {
		return upload.Document{}, fail(exitUsage, "", fmt.Errorf("run %s was imported: only who measured it can upload it", id))
	}
	secret := func() (identity.Secret, error) { return identity.OpenKeys(st.Dir()) }
	own := func() (seal.Material, bool, error) {
		m, err := a.material(st, id, false)
		if err != nil {
			return m, false, err
		}
		// Never sealed, or not readable: the run's own key.
		if file, err := read(store.SealFile); err == nil {
			if e, _, err := seal.OpenRun(file); err == nil && e.Public() != m.Key.Public() {
				return seal.Forgotten(), true, nil
			}
		}
		return m, false, nil
	}
	if old, _, err := queueOf(st).Get(id); err == nil {
		// A document whose key was dropped can't be made again: it stands, as long as nothing else is asked for.
		if _, lost, err := own(); err == nil && lost {
			if body, err := old.Body(); err == nil && (body.Anonymous || !anon) && body.State == string(r.State) {
				return old, nil
			}
		}
	}
	d, err := a.prepare(uploadOf{run: r, anon: anon, keys: a.keys(target{}), beside: read, own: own, secret: secret})
	switch {
	case errors.Is(err, upload.ErrNothing):
		return d, fail(exitFailed, "llm-speed runs show "+id, fmt.Errorf("run %s: %w, so that there is nothing to upload", id, err))
	case errors.Is(err, upload.ErrTooLarge):
		return d, fail(exitFailed, "", fmt.Errorf("run %s: %w", id, err))
	}
	return d, err
}

// showUpload writes a run's document: its exact bytes, or decoded.
func (a *app) showUpload(st *store.Store, ref string, f uploadFlags) error {
	id, err := st.Find(ref)
	if err != nil {
		return fail(exitUsage, "llm-speed runs", err)
	}
	saved, err := st.Load(id)
	if err != nil {
		return err
	}
	q := queueOf(st)
	d, err := a.documentOf(st, id, saved.Result, saved.Imported() != nil, saved.ReadFile, f.anon || queuedAnonymously(q, id))
	if err != nil {
		return err
	}
	state := "not queued"
	if old, _, err := q.Get(id); err == nil && !q.Held(id) {
		if state = "queued"; old.ID() != d.ID() {
			state = "the queue holds another one, " + old.ID()
		}
	}
	a.errf("document %s of run %s; %s; nothing was sent: %s\n", documentName(d), id, state, noService)
	if f.dryRun {
		_, err := a.Stdout.Write(d.Encode())
		return err
	}
	body, err := d.Body()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(shownDocument{d.ID(), body, d.FP, d.FPSalt}, "", "  ")
	if err != nil {
		return err
	}
	_, err = a.Stdout.Write(append(onOneLine(text), '\n'))
	return err
}

// onOneLine takes the line breaks out of the lists of a document that hold numbers and texts alone: they are long columns.
func onOneLine(indented []byte) []byte {
	lists := regexp.MustCompile(`\[\n[^\[\]{}]*\]`)
	breaks := regexp.MustCompile(`\n *`)
	return lists.ReplaceAllFunc(indented, func(list []byte) []byte {
		list = breaks.ReplaceAll(list, []byte(" "))
		return append(append([]byte("["), bytes.TrimSpace(list[1:len(list)-1])...), ']')
	})
}

// shownDocument is a document as people read it.
type shownDocument struct {
	ID     string       `json:"id"`
	Signed *upload.Body `json:"signed"`
	FP     string       `json:"fp"`
	FPSalt string       `json:"fp_salt"`
}

// dropQueued takes documents out of the queue.
func (a *app) dropQueued(st *store.Store, refs []string) error {
	q := queueOf(st)
	var ids []string
	for _, ref := range refs {
		id, err := queuedRun(st, q, ref)
		if err != nil {
			return fail(exitUsage, "llm-speed upload --list", fmt.Errorf("nothing was dropped: %w", err))
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		was, err := q.Hold(id)
		switch {
		case err != nil:
			return err
		case was:
			a.outf("dropped %s\n", id)
		default:
			a.errf("%s was not queued; bench will not queue it\n", id)
		}
	}
	return nil
}

// queuedRun is the run that is meant: one in the queue whose id begins so, even if the run itself is gone, else a saved one.
func queuedRun(st *store.Store, q *upload.Queue, ref string) (string, error) {
	list, err := q.List()
	if err != nil {
		return "", err
	}
	found := ""
	for _, e := range list {
		if e.RunID == ref {
			return ref, nil
		}
		if strings.HasPrefix(e.RunID, ref) {
			if found != "" {
				return st.Find(ref) // it says which ones
			}
			found = e.RunID
		}
	}
	id, err := st.Find(ref)
	if errors.Is(err, store.ErrNotFound) && found != "" {
		return found, nil
	}
	return id, err
}

// queueLine is a document of the queue in --list --json.
type queueLine struct {
	RunID     string `json:"run_id"`
	ID        string `json:"id"`
	Bytes     int64  `json:"bytes"`
	Anonymous bool   `json:"anonymous"`
	State     string `json:"state"`
	Mode      string `json:"mode"`
	Simulated bool   `json:"simulated"`
	Rankable  bool   `json:"rankable"`
	Official  bool   `json:"official_suite"`
	Held      bool   `json:"held"`
	Damaged   string `json:"damaged,omitempty"`
}

// listQueue lists what is queued.
func (a *app) listQueue(st *store.Store, asJSON bool) error {
	list, err := queueOf(st).List()
	if err != nil {
		return err
	}
	lines, table := []queueLine{}, [][]string{{"RUN", "DOCUMENT", "SIZE", "WHAT"}}
	for _, e := range list {
		l := queueLine{RunID: e.RunID, Bytes: e.Bytes, Held: e.Held}
		if e.Err != nil {
			l.Damaged = damage(e.Err)
			lines, table = append(lines, l), append(table, []string{e.RunID, "damaged", "-", l.Damaged})
			continue
		}
		b := e.Body
		l.ID, l.Anonymous, l.State, l.Mode, l.Simulated, l.Rankable, l.Official = e.Document.ID(), b.Anonymous, b.State, b.Mode, b.Simulated, b.Rankable, b.Suite.Official
		what := []string{strings.Join(nonEmpty(b.Backend.Name, b.Model.Name, b.Model.Quant), " "), kinds(b)}
		if e.Held {
			what = append(what, "held back")
		}
		lines = append(lines, l)
		table = append(table, []string{e.RunID, l.ID, fmt.Sprintf("%.0f kB", float64(e.Bytes)/1000), strings.Join(nonEmpty(what...), " · ")})
	}
	if asJSON {
		return a.writeJSON(lines)
	}
	if len(list) == 0 {
		a.warn("nothing is queued")
		return nil
	}
	a.outf("%s", aligned(table))
	a.errf("nothing of this was sent: %s\n", noService)
	return nil
}

// damage is why a queued document can't be read, without its path.
func damage(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// kinds say what keeps a document from being one of a whole run of the official suite under a name.
func kinds(b *upload.Body) string {
	var list []string
	for _, k := range []struct {
		is   bool
		what string
	}{{b.Anonymous, "anonymous"}, {b.Simulated, "simulated"}, {b.State != "complete", b.State}, {b.Mode == "quick", "quick"}, {!b.Suite.Official, "suite of one's own"}} {
		if k.is {
			list = append(list, k.what)
		}
	}
	return strings.Join(list, ", ")
}
