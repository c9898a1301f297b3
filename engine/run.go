package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/prose"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// ErrNoBackend marks an error of Run that says that nothing could be measured: no session could be opened.
var ErrNoBackend = errors.New("no backend could be opened")

// run is one run of a suite.
type run struct {
	opt   Options
	clock *clock.Clock
	began time.Duration
	limit time.Duration
	rows  []RowPlan
	state []*rowState // beside rows
	prose *prose.Source

	session  *session
	broken   bool          // the session has lost its server
	losses   int           // how often a session has lost one that was running already
	first    *drivers.Info // of the first session
	rates    []rate        // what rows so far have shown
	result   *record.Result
	connsMu  sync.Mutex    // warm-ups run at once
	conns    []stream.Conn // that were opened
	secrets  []string      // beside the key: what the session says must appear nowhere
	machine  func()        // waits for what was seen of the machine, and writes it down
	observer *Observer     // nil where the machine is not watched
	runFlag  []record.Flag

	ledger ledger        // tokens that all requests took
	pacing sync.Mutex    // one wait for a rate limit at a time
	waited time.Duration // for rate limits, in all
	pauses pauses        // of the pass that runs

	estimate     Estimate
	lined        bool // the line that a hosted session's prompts are fitted by was learnt, or tried to be
	ceilingSkips int  // rows that the ceiling kept from being begun
}

// rowState is what a row has gathered.
type rowState struct {
	program Program
	passes  []passResult
	session *session      // that the last pass ran on
	status  record.Status // "" while it has not been run
	reason  string
	kept    *record.Row // of a resumed run: it is not run again
}

// Run runs the suite and gives the result document, which has been saved after every row. The document is there, as far as
// it came, also with an error; the error is that of the run as a whole: nothing could be opened (ErrNoBackend), a program
// is wrong (*builtins.ScriptError), the result could not be saved, or ctx ended. Rows that failed are not an error.
func Run(ctx context.Context, opt Options) (*record.Result, error) {
	r, err := newRun(ctx, opt)
	if err != nil {
		return nil, err
	}
	defer r.closeSession()
	if err := r.begin(ctx); err != nil {
		return r.result, errors.Join(err, r.endWatch())
	}
	err = r.all(ctx)
	return r.result, errors.Join(err, r.finish(ctx, err))
}

func newRun(ctx context.Context, opt Options) (*run, error) {
	rows, err := PlanRows(opt.Suite, opt.Workloads, opt.Quick)
	if err != nil {
		return nil, err
	}
	if old := opt.Resume; old != nil {
		mode := map[bool]string{true: "quick", false: "full"}[opt.Quick]
		switch {
		case old.Suite.Digest != opt.Suite.Digest:
			return nil, fmt.Errorf("run %s was made with another %s (%s, here %s): it can't be resumed with this one", old.RunID, old.Suite.Name, old.Suite.Digest, opt.Suite.Digest)
		case old.Mode != mode:
			return nil, fmt.Errorf("run %s is a %s run and can't go on as a %s one", old.RunID, old.Mode, mode)
		case old.Seed != fmt.Sprintf("%016x", opt.Seed):
			return nil, fmt.Errorf("run %s has seed %s, not %016x", old.RunID, old.Seed, opt.Seed)
		}
	}
	c := opt.Config.Clock
	if c == nil {
		c = clock.New()
		opt.Config.Clock = c
	}
	src, err := prose.Load(opt.Suite.Files, opt.Suite.Generator)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", opt.Suite.Name, err)
	}
	r := &run{opt: opt, clock: c, began: c.Now(), rows: rows, prose: src, limit: opt.MaxTime}
	r.ledger.most = opt.MaxTokens
	if r.limit == 0 {
		s := opt.Suite.Budget.DefaultS
		if opt.Quick {
			s = opt.Suite.Budget.QuickS
		}
		r.limit = time.Duration(s * float64(time.Second))
	}
	if opt.Repeats > 0 {
		for i := range r.rows {
			r.rows[i].Passes = opt.Repeats
		}
	}
	programs := map[string]Program{}
	for i := range rows {
		name := rows[i].workload.Program
		if programs[name] == nil {
			if programs[name], err = r.compile(ctx, name); err != nil {
				return nil, err
			}
		}
		st := &rowState{program: programs[name]}
		r.state = append(r.state, st)
	}
	return r, nil
}

// begin writes down what the run is before anything of it is measured.
func (r *run) begin(ctx context.Context) error {
	mode := "full"
	if r.opt.Quick {
		mode = "quick"
	}
	s := r.opt.Suite
	r.result = &record.Result{
		Schema: record.Schema, RunID: r.opt.RunID, StartedAt: r.clock.Wall(r.began).UTC(), State: record.Running, Mode: mode,
		Client: r.opt.Client, Seed: fmt.Sprintf("%016x", r.opt.Seed), Anonymous: r.opt.Anonymous,
		Suite:   record.Suite{Name: s.Name, Version: s.Version, Digest: s.Digest, Generator: s.Generator, Official: r.opt.Official},
		Backend: record.Backend{Name: r.opt.Spec.Name}, Flags: []record.Flag{}, Rows: []record.Row{}, Raw: []record.RawFile{},
		Budget:  record.Budget{LimitS: r.limit.Seconds(), Repeats: r.opt.Repeats, Cut: []string{}},
		Reasons: record.Reasons{},
	}
	r.result.Environment.Events, r.result.Environment.Series = []string{}, []record.RawFile{}
	if old := r.opt.Resume; old != nil {
		r.goOn(old)
	}
	r.watchMachine(ctx)
	r.machine = r.look(ctx)
	return r.save()
}

// goOn takes over what an earlier document holds: all of it stays until something better is there, so that a run that
// can't go on after all has lost nothing.
func (r *run) goOn(old *record.Result) {
	fresh := r.result
	kept := *old
	r.result = &kept
	r.result.State, r.result.FinishedAt, r.result.Client, r.result.Budget = record.Running, nil, fresh.Client, fresh.Budget
	r.result.Rows, r.result.Raw = slices.Clone(old.Rows), []record.RawFile{}
	r.result.Reasons = maps.Clone(old.Reasons)
	if r.result.Reasons == nil {
		r.result.Reasons = record.Reasons{}
	}
	r.result.Environment.Events = append(slices.Clone(old.Environment.Events), "resumed at "+r.clock.Wall(r.clock.Now()).UTC().Format(time.RFC3339))
	for n := range old.Rows {
		row := &old.Rows[n]
		planned := slices.IndexFunc(r.rows, func(p RowPlan) bool { return p.Key == row.Key })
		if row.Status != record.OK && planned >= 0 {
			continue
		}
		r.result.Raw = append(r.result.Raw, rawOf(old, row)...)
		if planned >= 0 {
			r.state[planned].kept = row
			r.remember(row)
		}
	}
}

// rawOf lists the raw files that a row of an earlier document refers to.
func rawOf(doc *record.Result, row *record.Row) []record.RawFile {
	var files []record.RawFile
	for _, f := range doc.Raw {
		if slices.ContainsFunc(row.Samples, func(s record.Sample) bool { return strings.HasPrefix(s.Raw, f.Path+"#") }) {
			files = append(files, f)
		}
	}
	return files
}

// seen is what a probe of the machine gave.
type seen struct {
	what json.RawMessage
	why  string // why there is nothing
}

// describe runs a probe of the machine; one that fails leaves null and its reason.
func describe(ctx context.Context, probe func(context.Context) (json.RawMessage, error)) seen {
	if probe == nil {
		return seen{why: "not taken"}
	}
	b, err := probe(ctx)
	if err != nil {
		return seen{why: err.Error()}
	}
	return seen{what: b}
}

// look begins to look at the machine while the backend is opened; what it gives waits for the end of that, so that it
// never overlaps a timed pass.
func (r *run) look(ctx context.Context) func() {
	var wg sync.WaitGroup
	var print, state seen
	wg.Go(func() { print = describe(ctx, r.opt.Fingerprint) })
	wg.Go(func() { state = describe(ctx, r.opt.State) })
	var fp string
	fpErr := errors.New("not taken")
	if r.opt.FP != nil {
		wg.Go(func() { fp, fpErr = r.opt.FP(ctx) })
	}
	return func() {
		wg.Wait()
		r.machineID(fp, fpErr)
		r.result.Fingerprint = r.known("fingerprint", print)
		r.result.Environment.Before = r.known("environment", state)
	}
}

// known is what was seen, or null with its reason.
func (r *run) known(name string, s seen) json.RawMessage {
	if s.what == nil {
		r.result.Reasons[name] = r.redactText(s.why)
	}
	return s.what
}

// all runs the rows in order, then spends what is left of the budget.
func (r *run) all(ctx context.Context) error {
	if err := r.openFirst(ctx); err != nil {
		return err
	}
	for i := range r.rows {
		if r.state[i].kept != nil {
			continue
		}
		if err := r.row(ctx, i); err != nil {
			return err
		}
		if err := r.saveRow(i); err != nil {
			return err
		}
	}
	return r.spend(ctx)
}

// openFirst opens the session of the first row that is to be run, and tells the plan and the calibration.
func (r *run) openFirst(ctx context.Context) error {
	at := 0
	for at < len(r.rows) && r.state[at].kept != nil {
		at++
	}
	if at == len(r.rows) {
		r.machine()
		return nil
	}
	s, err := r.ready(ctx, at)
	r.machine()
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", ErrNoBackend, r.redact(err))
	}
	r.first = &s.info
	if old := r.opt.Resume; old != nil && len(r.result.Raw)+at > 0 && (old.Backend.Name != s.info.Backend || old.Backend.Version != s.info.Version || old.Model.Name != fileName(s.info.Model.Name)) {
		return fmt.Errorf("%w: run %s was measured on %s %s with %s; here is %s %s with %s", ErrNoBackend, old.RunID,
			old.Backend.Name, old.Backend.Version, old.Model.Name, s.info.Backend, s.info.Version, s.info.Model.Name)
	}
	r.describeSession(s)
	if r.masksText() {
		r.result.Reasons["raw_timings.text"] = "the answers of a hosted service are kept without their text; --keep-text keeps it"
	}
	r.estimate = r.expect(ctx, s)
	if w := r.opt.Watch.Planned; w != nil {
		shown := s.info
		shown.Model.Ref, shown.Model.Name = r.result.Model.Ref, r.result.Model.Name
		w(Plan{Rows: r.rows, Budget: r.limit, Backend: shown, Estimate: r.estimate})
	}
	r.opt.Watch.Live.set(func(l *Live) {
		l.began, l.rows = time.Now(), len(r.rows)
	})
	if r.opt.Calibrate == nil {
		r.result.Reasons["calibration"] = "not taken"
		return r.save()
	}
	r.doing("calibrating")
	widest := 1
	for _, row := range r.rows {
		widest = max(widest, row.Need.Parallel)
	}
	receipt, flags, err := r.opt.Calibrate(ctx, widest)
	if err != nil {
		r.result.Reasons["calibration"] = err.Error()
	}
	r.result.Calibration = receipt
	for _, f := range flags {
		r.runFlag = addFlag(r.runFlag, f)
		r.result.Flags = addFlag(r.result.Flags, f)
	}
	return r.save()
}

// describeSession writes down what serves.
func (r *run) describeSession(s *session) {
	i := s.info
	r.result.Backend = record.Backend{
		Name: i.Backend, Version: i.Version, Build: i.Build, Attached: i.Attached, URLKind: i.URLKind, Caps: s.caps.Names(), Metadata: i.Metadata,
	}
	if i.Simulated {
		r.result.Flags = addFlag(r.result.Flags, record.Flag{Name: "simulated", Evidence: "the answers come from the built-in simulator, not from a model"})
	}
	for field, why := range i.WhyNot {
		r.result.Reasons[field] = r.redactText(why)
	}
	m := record.Model{Ref: fileName(i.Model.Ref), Name: fileName(i.Model.Name), Quant: i.Model.Quant}
	if sum := digestForm(i.Model.Digest); sum != "" {
		m.Digest, m.DigestKind = sum, i.Model.DigestKind
	}
	if i.Model.SizeBytes > 0 {
		m.SizeBytes = &i.Model.SizeBytes
	}
	if i.Model.ContextMax > 0 {
		m.ContextMax = &i.Model.ContextMax
	}
	r.identify(i, &m)
	r.result.Model = m
}

// fileName takes the folders off a reference or name that is a path of a file system: they are the user's own business.
// What is no absolute path ("org/model") stays.
func fileName(ref string) string {
	drive := len(ref) > 2 && ref[1] == ':' && strings.ContainsRune(`/\`, rune(ref[2]))
	home := strings.HasPrefix(ref, "~")
	relative := strings.HasPrefix(ref, ".") || strings.HasSuffix(strings.ToLower(ref), ".gguf")
	if drive || home || relative || strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, `\`) {
		return ref[strings.LastIndexAny(ref, `/\`)+1:]
	}
	return ref
}

// row runs the first passes of a row. Its error is one that ends the run.
func (r *run) row(ctx context.Context, at int) error {
	row, st := &r.rows[at], r.state[at]
	r.opt.Watch.Live.set(func(l *Live) { l.row, l.name, l.pass, l.of = row.Key, row.Name, 1, row.Passes })
	if w := r.opt.Watch.Row; w != nil {
		w(*row)
	}
	s, err := r.ready(ctx, at)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		st.status, st.reason = record.Failed, "no session: "+r.redactText(err.Error())
		return nil
	}
	if s.info.ContextMax > 0 && row.Need.Context > s.info.ContextMax {
		st.status = record.Skipped
		st.reason = fmt.Sprintf("needs a context of %d tokens; the server offers %d a stream", row.Need.Context, s.info.ContextMax)
		return nil
	}
	if t, from := r.predict(row); t > maxRowTime && !r.opt.Long {
		st.status = record.Skipped
		st.reason = fmt.Sprintf("predicted to take %s a pass (from the rates of %s), over the limit of %s; --long runs it all the same", t.Round(time.Second), from, maxRowTime)
		return nil
	}
	if reason := r.overCeiling(row); reason != "" {
		st.status, st.reason = record.Skipped, reason
		return nil
	}
	reopened := false
	for len(st.passes) < row.Passes {
		if r.broken && !reopened { // a server that went is given one more chance a row
			reopened = true
			if again, err := r.ready(ctx, at); err == nil {
				s = again
			} else if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		if r.broken {
			break
		}
		if err := r.one(ctx, at, s); err != nil {
			return err
		}
		if s = r.roomier(ctx, at, s); st.status == "" {
			continue
		}
		if st.status == record.Failed || st.status == record.Skipped || st.cut() {
			break
		}
	}
	return nil
}

// roomier looks whether a row has failed because its tokens are more on this tokenizer than the suite took them for, on a
// server of our own that could have been given more context. It opens such a server, and takes the failed pass back.
func (r *run) roomier(ctx context.Context, at int, s *session) *session {
	row, st := &r.rows[at], r.state[at]
	n := len(st.passes)
	if st.status != record.Failed || n == 0 || !errors.Is(st.passes[n-1].err, drivers.ErrContextLength) || s.fixed() {
		return s
	}
	most := s.info.Model.ContextMax
	if s.need.Context >= most || most == 0 {
		return s
	}
	row.Need.Context = min(2*s.need.Context, most)
	r.note("%s: %d tokens of context are too few on this tokenizer; trying with %d", row.Key, s.need.Context, row.Need.Context)
	bigger, err := r.ready(ctx, at)
	if err != nil {
		st.reason += "; and with more context: " + r.redactText(err.Error())
		return s
	}
	failed := st.passes[n-1].raw.Path
	r.result.Raw = slices.DeleteFunc(r.result.Raw, func(f record.RawFile) bool { return f.Path == failed })
	st.passes, st.status, st.reason = st.passes[:n-1], "", ""
	return bigger
}

// one runs one pass of a row on a session. A pass that fails marks the row and is no error; a wrong program, an ended
// context and a raw file that can't be written are.
func (r *run) one(ctx context.Context, at int, s *session) error {
	row, st := &r.rows[at], r.state[at]
	n := len(st.passes) + 1
	r.opt.Watch.Live.set(func(l *Live) { l.pass, l.of = n, max(row.Passes, n) })
	h := &passHost{r: r, s: s, row: row, pass: n, began: r.clock.Now(), cuts: r.ledger.refused()}
	h.out.pass, r.pauses = n, pauses{}
	if s.caps.CacheStatser != nil {
		if c, err := s.caps.CacheStatser.CacheStats(ctx); err == nil {
			h.cache0 = &c
		}
	}
	err := st.program.Run(ctx, h, builtins.Point{Params: row.params, Point: row.Point, Metrics: metricNames(row.workload)})
	h.out.pauses = r.pauses
	h.out.took = r.clock.Now() - h.began - h.out.pauses.waited
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var skip *builtins.SkipError
	switch {
	case errors.As(err, &skip):
		st.status, st.reason = record.Skipped, skip.Reason
	case h.cut(err):
		h.out.err, h.out.ceiling = r.redact(hostError(err)), true
		if len(st.passes) == 0 {
			st.status = record.Skipped
		}
		st.reason = fmt.Sprintf("pass %d was cut: %v", n, h.out.err)
	case err != nil && isHostError(err):
		h.out.err = r.redact(hostError(err))
		if lostServer(h.out.err) {
			r.broken = true
			if s.info.Attached {
				r.losses++
			}
		}
		// A row with finished passes stays; one without has failed.
		if len(st.passes) == 0 {
			st.status = record.Failed
		}
		st.reason = fmt.Sprintf("pass %d: %v", n, h.out.err)
	case err != nil:
		return err
	case len(h.out.samples) == 0:
		st.status, st.reason = record.Failed, "the program streamed nothing"
		h.out.err = errors.New(st.reason)
	default:
		st.status = record.OK
	}
	if st.status == record.OK || st.status == record.Failed || len(h.out.samples) > 0 {
		if err := r.keepRaw(row, &h.out); err != nil {
			return err
		}
		st.passes = append(st.passes, h.out)
		st.session = s
		r.observe(row, &h.out)
	}
	if w := r.opt.Watch.Pass; w != nil {
		w(PassDone{Key: row.Key, Pass: n, Of: max(row.Passes, n), Took: h.out.took, Err: h.out.err})
	}
	return nil
}

// keepRaw stores the recordings of a pass and lets go of their bytes.
func (r *run) keepRaw(row *RowPlan, p *passResult) error {
	if r.opt.SaveRaw != nil && len(p.recs) > 0 {
		for i := range p.recs {
			p.recs[i] = r.redactRecording(p.recs[i])
		}
		f, err := r.opt.SaveRaw(row.Key, p.pass, p.recs)
		if err != nil {
			return fmt.Errorf("save the raw timings of %s: %w", row.Key, err)
		}
		p.raw = f
		r.result.Raw = append(r.result.Raw, f)
	}
	p.recs = nil
	return nil
}

// lostServer reports whether an error means that the session will not work again.
func lostServer(err error) bool {
	return errors.Is(err, drivers.ErrServerDied) || errors.Is(err, drivers.ErrUnreachable) || errors.Is(err, drivers.ErrReset)
}

// saveRow puts a row into the document and saves it.
func (r *run) saveRow(at int) error {
	row := r.build(at)
	r.place(row)
	r.relate()
	if err := r.save(); err != nil {
		return err
	}
	r.opt.Watch.Live.set(func(l *Live) { l.rowsDone = len(r.result.Rows) })
	if w := r.opt.Watch.Done; w != nil {
		for i := range r.result.Rows {
			if r.result.Rows[i].Key == row.Key {
				w(r.result.Rows[i])
			}
		}
	}
	return nil
}

// place puts a row where the plan has it.
func (r *run) place(row record.Row) {
	done := map[string]record.Row{}
	for _, old := range r.result.Rows {
		done[old.Key] = old
	}
	done[row.Key] = row
	others := slices.DeleteFunc(slices.Clone(r.result.Rows), func(old record.Row) bool {
		return slices.ContainsFunc(r.rows, func(p RowPlan) bool { return p.Key == old.Key })
	})
	r.result.Rows = r.result.Rows[:0:0]
	for i := range r.rows {
		if d, ok := done[r.rows[i].Key]; ok {
			r.result.Rows = append(r.result.Rows, d)
		}
	}
	r.result.Rows = append(r.result.Rows, others...)
}

// finish closes the document: state, flags, what the machine looked like afterwards, the model's digest.
func (r *run) finish(ctx context.Context, err error) error {
	r.closeSession()
	if err != nil && len(r.result.Rows) == 0 && !errors.Is(err, context.Canceled) {
		// Nothing was measured: the document stays as the record of a run that could not begin.
		r.result.State = record.Partial
		return errors.Join(r.endWatch(), r.save())
	}
	late := context.WithoutCancel(ctx)
	r.result.Environment.After = r.known("environment_after", describe(late, r.opt.State))
	r.result.State = record.Complete
	if err != nil || len(r.result.Rows) < len(r.rows) || r.ledger.refused() > 0 || r.ceilingSkips > 0 {
		r.result.State = record.Partial
	}
	watched := r.endWatch()
	r.digest(ctx, err == nil)
	now := r.clock.Wall(r.clock.Now()).UTC()
	r.result.FinishedAt = &now
	r.result.Budget.SpentS = (r.clock.Now() - r.began).Seconds()
	r.network()
	r.tellTokens()
	known := r.rankableRun()
	r.result.Rankable = r.result.State == record.Complete && known
	for i := range r.result.Rows {
		row := &r.result.Rows[i]
		switch {
		case row.Rankable && !known:
			row.Rankable = false
			row.Reasons["rankable"] = notKnown
		case known && row.Reasons["rankable"] == notKnown: // of a run that was stopped before its weights were hashed, and has gone on
			row.Rankable = true
			delete(row.Reasons, "rankable")
		}
		r.result.Rankable = r.result.Rankable && row.Rankable
	}
	return errors.Join(watched, r.save())
}

// notKnown is why a row is not ranked that has nothing against it itself.
const notKnown = "the suite is not an official one, or the model's weights and quantisation are not known"

// addConn notes a connection that was opened.
func (r *run) addConn(c stream.Conn) {
	r.connsMu.Lock()
	defer r.connsMu.Unlock()
	r.conns = append(r.conns, c)
}

// network sums up the connections that were opened, for timed streams and for warm-ups.
func (r *run) network() {
	if len(r.conns) == 0 {
		return
	}
	median := func(of func(stream.Conn) time.Duration) *float64 {
		var ms []float64
		for _, c := range r.conns {
			if d := of(c); d > 0 {
				ms = append(ms, d.Seconds()*1000)
			}
		}
		if x, ok := stats.Median(ms); ok {
			return &x
		}
		return nil
	}
	r.result.Network = record.Network{
		RTTms: median(func(c stream.Conn) time.Duration { return c.Connect }),
		DNSms: median(func(c stream.Conn) time.Duration { return c.DNS }),
		TLSms: median(func(c stream.Conn) time.Duration { return c.TLS }),
	}
	for name, v := range map[string]struct {
		x   *float64
		why string
	}{
		"network.rtt_ms": {r.result.Network.RTTms, "no connection was opened"},
		"network.dns_ms": {r.result.Network.DNSms, "the server was given by its address"},
		"network.tls_ms": {r.result.Network.TLSms, "the connection is not encrypted"},
	} {
		if v.x == nil {
			r.result.Reasons[name] = v.why
		}
	}
}

func (r *run) save() error {
	if r.opt.Save == nil {
		return nil
	}
	if err := r.opt.Save(r.result); err != nil {
		return fmt.Errorf("save the result: %w", err)
	}
	return nil
}

func (r *run) doing(what string) { r.opt.Watch.Live.set(func(l *Live) { l.doing = what }) }

func (r *run) note(format string, args ...any) {
	if w := r.opt.Watch.Note; w != nil {
		w(r.redactText(fmt.Sprintf(format, args...)))
	}
}
