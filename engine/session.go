package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// ordinaryContext is the context below which rows of one parallelism share a server. Rows above it get one sized for
// themselves: a server started with room for 128k tokens may spill into slower memory and slow every other row down.
const ordinaryContext = 36 << 10

// session is an open session with what was learnt on it.
type session struct {
	drivers.Session
	info   drivers.Info
	caps   drivers.Caps
	need   drivers.Need
	opened time.Duration // how long Open took
	losses int           // of the run when it was opened

	warmed  map[int]bool // degrees of parallelism that have had their warm-up
	timings bool         // the server states its prefill time
	probe   *coldProbe   // P0 of measurement.md section 3; nil until taken
	heads   heads

	line     sizeLine // by which all prompts of a hosted session are fitted
	textHead int      // tokens that a counted text has beside its own; 0: not counted yet
}

// needFor gives the need that a session opened for rows[at] should have: its own, widened to the ordinary rows of the
// same parallelism that it can serve too.
func needFor(rows []RowPlan, at int) drivers.Need {
	n := drivers.Need{Context: rows[at].Need.Context, Parallel: rows[at].Need.Parallel}
	if n.Context > ordinaryContext {
		return n
	}
	for _, r := range rows {
		if r.Need.Parallel == n.Parallel && r.Need.Context <= ordinaryContext {
			n.Context = max(n.Context, r.Need.Context)
		}
	}
	return n
}

// serves reports whether an open session will do for a row. An attached server is what it is; one of our own is neither
// too small, nor shaped for another parallelism where that matters to it, nor blown up for a longer context than the row's
// class.
func (s *session) serves(n suite.Need) bool {
	if s.fixed() {
		return true
	}
	if s.need.Parallel != n.Parallel && !s.info.AnyParallel || s.need.Context < n.Context {
		return false
	}
	return s.need.Context <= ordinaryContext || n.Context > ordinaryContext
}

// fixed reports whether another Open would find the server as it is.
func (s *session) fixed() bool { return (s.info.Attached || s.info.Simulated) && !s.info.Sized }

// ready gives a session that serves rows[at], opening one where the present one will not do.
func (r *run) ready(ctx context.Context, at int) (*session, error) {
	if r.session != nil && !r.broken && r.session.serves(r.rows[at].Need) {
		return r.session, nil
	}
	r.closeSession()
	r.opt.Watch.Live.set(func(l *Live) { l.doing = "opening " + r.opt.Spec.Name })
	wide := needFor(r.rows, at)
	own := drivers.Need{Context: r.rows[at].Need.Context, Parallel: r.rows[at].Need.Parallel}
	s, err := r.open(ctx, wide)
	if err != nil && wide != own && errors.Is(err, drivers.ErrServerDied) {
		r.note("the server did not start with room for %d tokens; trying with the %d that this row needs", wide.Context, own.Context)
		s, err = r.open(ctx, own)
	}
	if err != nil {
		return nil, err
	}
	if r.first != nil && (s.info.Model.Name != r.first.Model.Name || s.info.Version != r.first.Version) {
		_ = s.Close()
		return nil, fmt.Errorf("%w: the run began with model %q on %s %s, and the server now has %q on %s: results of both would be one row",
			drivers.ErrModelNotFound, r.first.Model.Name, r.first.Backend, r.first.Version, s.info.Model.Name, s.info.Version)
	}
	r.session, r.broken = s, false
	if s.caps.Secrets != nil {
		for _, secret := range s.caps.Secrets.Secrets() {
			if secret != "" && !slices.Contains(r.secrets, secret) {
				r.secrets = append(r.secrets, secret)
			}
		}
	}
	return s, nil
}

// lostSince reports whether a server that was running already has been lost since a row was measured on it: what has come
// back may have another model, or other settings, under the same name, and its passes are no further passes of that row.
func (r *run) lostSince(st *rowState) bool {
	return st.session != nil && st.session.info.Attached && st.session.losses != r.losses
}

func (r *run) open(ctx context.Context, n drivers.Need) (*session, error) {
	defer r.using()()
	began := r.clock.Now()
	cfg := r.opt.Config
	if r.first != nil && cfg.Model == "" {
		cfg.Model = r.first.Model.Ref // a server opened later serves the model of the first
	}
	s, err := r.opt.Spec.Open(ctx, cfg, n)
	if err != nil {
		return nil, err
	}
	if s.Info().URLKind == "loopback" {
		r.tellServer(s.Info().URL)
	}
	return &session{
		Session: s, info: s.Info(), caps: drivers.CapsOf(s), need: n, opened: r.clock.Now() - began, losses: r.losses,
		warmed: map[int]bool{},
	}, nil
}

func (r *run) closeSession() {
	if r.session != nil {
		_ = r.session.Close()
		r.session = nil
	}
}
