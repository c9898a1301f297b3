package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

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
