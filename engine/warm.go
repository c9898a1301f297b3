package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// warmTokens is the output length of a warm-up request, warmPrompt about the length of its prompt, template apart.
const (
	warmTokens = 8
	warmPrompt = 128
)

// coldProbe is the short cold prompt against which the client's own prefill rate is taken: P0 and TTFT(P0) of
// measurement.md section 3.
type coldProbe struct {
	measure.Probe
	cached stream.Count
	shared int    // tokens that it may share with prompts before it
	why    string // why there is none; empty where there is
}

// warm runs one short unmeasured request of a degree of parallelism before its first timed stream, and learns from it
// whether the server states its own prefill time. No long context is ever warmed.
func (h *passHost) warm(ctx context.Context, parallel int) error {
	if h.s.warmed[parallel] {
		return nil
	}
	h.r.doing("warming up")
	trs := make([]stream.Transcript, parallel)
	errs := make([]error, parallel)
	if err := h.r.pace(ctx, h.s, parallel, parallel*(templateTokens+warmPrompt), parallel*warmTokens); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for i := range parallel {
		p := h.generated(text{label: fmt.Sprintf("warm/%s/%d/%d/%d", h.row.Key, h.pass, parallel, i), words: 24, salt: true})
		wg.Go(func() { _, trs[i], errs[i] = h.r.unmeasured(ctx, h.s, p, warmTokens) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
	}
	h.s.warmed[parallel] = true
	h.s.timings = statesPrefill(trs[0].Server)
	if h.s.timings || h.s.probe != nil {
		return nil
	}
	return h.takeProbe(ctx)
}

// probes is how many short prompts are sent: of fewer a path's unsteadiness may not show.
const probes = 5

// takeProbe measures short cold prompts and keeps the median, and by how much they differ.
func (h *passHost) takeProbe(ctx context.Context) error {
	probe := &coldProbe{why: "no cold probe: its tokens are not known"}
	var ttfts []float64
	for i := range probes {
		p := oneMessage(h.r.prose.Salt(h.r.opt.Seed, fmt.Sprintf("probe/%s/%d/%d", h.row.Key, h.pass, i)) + "Say yes.")
		probe.shared = max(probe.shared, h.s.info.Template, h.s.heads.shares(h.s.headOfPrompt(ctx, p)))
		rec, tr, err := h.r.unmeasured(ctx, h.s, p, 2)
		if err != nil {
			return fmt.Errorf("cold probe: %w", err)
		}
		for _, e := range tr.Events {
			if e.Kind != stream.Silent {
				ttfts = append(ttfts, float64(e.At-rec.Send))
				break
			}
		}
		if tr.Counts.Prompt.Known() {
			probe.Tokens, probe.cached = tr.Counts.Prompt.N, tr.Counts.Cached
		}
	}
	if median, ok := stats.Median(ttfts); ok && probe.Tokens > 0 {
		probe.TTFT, probe.Noise, probe.why = time.Duration(median), time.Duration(slices.Max(ttfts)-slices.Min(ttfts)), ""
	}
	h.s.probe = probe
	return nil
}

// unmeasured runs a request whose times are used for nothing but deadlines, within the service's limits and the ceiling.
func (r *run) unmeasured(ctx context.Context, s *session, p drivers.Prompt, output int) (stream.Recording, stream.Transcript, error) {
	bytes := bytesOf(p)
	for try := 0; ; try++ {
		most := r.most(p, nil, output)
		if err := r.pace(ctx, s, 1, most-output, output); err != nil {
			return stream.Recording{}, stream.Transcript{}, err
		}
		if err := r.ledger.reserve(most); err != nil {
			return stream.Recording{}, stream.Transcript{}, err
		}
		rec, tr, err := r.once(ctx, s, p, output)
		r.ledger.settle(most, bytes, &rec, tr.Counts)
		if _, again := r.again(ctx, s, err, try); !again || ctx.Err() != nil {
			return rec, tr, err
		}
	}
}

func (r *run) once(ctx context.Context, s *session, p drivers.Prompt, output int) (stream.Recording, stream.Transcript, error) {
	s.heads.remember(s.headOfPrompt(ctx, p))
	defer r.using()()
	r.sending(p)
	rec, err := s.Stream(ctx, drivers.Request{
		Prompt: p, OutputTokens: output, Seed: r.opt.Seed, Slot: drivers.AnySlot,
		FirstByteWithin: r.firstByteWithin(4096), IdleWithin: r.idleWithin(),
	})
	if rec.Conn.Connect > 0 {
		r.addConn(rec.Conn)
	}
	if err != nil {
		return rec, stream.Transcript{}, r.redact(err)
	}
	tr, err := s.Decode(rec)
	return rec, tr, r.redact(err)
}
