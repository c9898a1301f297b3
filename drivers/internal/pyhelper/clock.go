package pyhelper

import (
	"context"
	"fmt"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
)

// Offset is how a helper's clock stands to the run's: run = helper + Add, wrong by at most Bound. Both are clocks of one
// machine, so that they do not drift apart.
type Offset struct {
	Add   time.Duration
	Bound time.Duration // half of the shortest round trip
}

// rounds is how often the helper is asked for its clock: the shortest round trip counts, and most are short.
const rounds = 24

// compare asks the helper for its clock, as NTP does: it was read between our sending and our receiving.
func (h *Helper) compare(ctx context.Context) (Offset, error) {
	var best Offset
	for i := range rounds {
		id := h.number()
		got := make(chan answer, 1)
		h.mu.Lock()
		h.calls[id] = got
		h.mu.Unlock()
		sent, err := h.write(fmt.Appendf(nil, `{"op":"ping","id":%d}`+"\n", id))
		if err != nil {
			return Offset{}, err
		}
		select {
		case a := <-got:
			if a.Pong == nil {
				return Offset{}, fmt.Errorf("%w: the helper answered a ping with something else", drivers.ErrProtocol)
			}
			half := (a.at - sent) / 2
			if i == 0 || half < best.Bound {
				best = Offset{Add: sent + half - time.Duration(*a.Pong), Bound: half}
			}
		case <-h.gone:
			return Offset{}, h.why
		case <-ctx.Done():
			return Offset{}, context.Cause(ctx)
		}
	}
	return best, nil
}
