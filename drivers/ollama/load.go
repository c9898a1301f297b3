package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// How long loading a model may take; how long the server keeps it after a request of ours; and how long after Close what
// was loaded by us: long enough for an Open that follows at once.
const (
	loadTime   = 20 * time.Minute
	keepLoaded = "30m"
	keepAfter  = "3s"
)

// What is asked of a server where the rows do not say, the smallest context that is worth loading, and a context that costs so
// little that more of it than needed does no harm; tokens.
const (
	defaultContext = 4096
	leastContext   = 2048
	smallContext   = 8192
)

// settings are the options that stay the same over a session: Ollama loads a model anew when one of the first two changes.
type settings struct {
	Context       int      `json:"num_ctx"`
	GPULayers     *int     `json:"num_gpu,omitempty"`
	Predict       int      `json:"num_predict,omitempty"`
	Temperature   float64  `json:"temperature"`
	TopK          int      `json:"top_k,omitempty"`
	RepeatPenalty *float64 `json:"repeat_penalty,omitempty"`
	Seed          int64    `json:"seed,omitempty"`
}

// sampling sets how tokens are chosen. Greedy choice leaves the repeat penalty out, which looks at the whole vocabulary for
// each token, and is on by default in older versions only.
func (o chosen) sampling(s *settings) {
	s.Temperature = o.temperature
	if o.temperature == 0 {
		one := 1.0
		s.TopK, s.RepeatPenalty = 1, &one
	}
}

// contextFor is the context of a stream: what is needed, a little more, since prompts can't be counted exactly here before they
// are sent, rounded up, and no longer than the model's own.
func contextFor(need, trained int) int {
	if need <= 0 {
		need = defaultContext
	}
	need = roundUp(need + need/50)
	if trained > 0 {
		need = min(need, trained)
	}
	return need
}

func roundUp(n int) int { return (n + 255) / 256 * 256 }

// loading is the body of a request that generates nothing: it loads a model, or sets how long it stays.
type loading struct {
	Model     string    `json:"model"`
	KeepAlive any       `json:"keep_alive"`
	Options   *settings `json:"options,omitempty"`
	Stream    bool      `json:"stream"`
}

// load loads a model, whose weights have the digest hex, with a context, and returns how
// the server lists it then; nothing is set where it does not.
func (a api) load(ctx context.Context, c drivers.Config, model, hex string, s settings) (loaded, error) {
	s.Predict = 0
	began := time.Now()
	tick := time.NewTicker(10 * time.Second)
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-tick.C:
				c.Log("ollama is loading %s: %s", model, time.Since(began).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	err := a.generate(ctx, loading{Model: model, KeepAlive: keepLoaded, Options: &s}, nil)
	tick.Stop()
	close(done)
	<-gone
	if err != nil {
		return loaded{}, fmt.Errorf("load %s with a context of %d tokens: %w", model, s.Context, err)
	}
	m, err := a.runs(ctx, model, hex)
	if err != nil {
		return loaded{}, err
	}
	if m == nil { // loaded it is; it may be listed under a name that means another model by now
		m = &loaded{}
	}
	return *m, nil
}

// generate makes a call of /api/generate that answers in one piece, which may take as long as loading does.
func (a api) generate(ctx context.Context, in, out any) error {
	return a.post(ctx, "/api/generate", in, out)
}

// post makes a call that may take as long as loading a model does.
func (a api) post(ctx context.Context, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	rec, err := a.Stream(ctx, httpx.Post{Path: path, Body: b, Protocol: "json", Request: drivers.Request{FirstByteWithin: loadTime, IdleWithin: loadTime}})
	switch {
	case err != nil:
		return err
	case rec.Status != http.StatusOK:
		return a.Redact(mapped(httpx.StatusError(rec.Status, rec.Data, rec.Header["retry-after"])))
	}
	return answerOf(&rec, out)
}

// answerOf reads an answer in one piece.
func answerOf(rec *stream.Recording, out any) error {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	data := bytes.TrimSpace(rec.Data)
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%w: the answer is no JSON object: %.80q", drivers.ErrProtocol, data)
	}
	if len(e.Error) > 0 && string(e.Error) != "null" {
		m := httpx.ErrorText(data)
		return mapped(&drivers.APIError{Kind: drivers.KindOfStatus(500, m), Status: rec.Status, Message: m})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%w: the answer has other fields than Ollama's: %.80q", drivers.ErrProtocol, data)
	}
	return nil
}

// fitted loads a model with as much of the context as there is memory for, and no less than leastContext.
func (a api) fitted(ctx context.Context, c drivers.Config, model, hex string, s settings) (loaded, settings, bool, error) {
	reduced := false
	for {
		m, err := a.load(ctx, c, model, hex, s)
		if err == nil || !errors.Is(err, errMemory) || s.Context/2 < leastContext || ctx.Err() != nil {
			return m, s, reduced, err
		}
		s.Context = roundUp(s.Context / 2)
		reduced = true
		c.Log("ollama has no memory for that context; trying with %d tokens", s.Context)
	}
}

// stays gives the keep_alive that leaves a model as long as it would have stayed without us, in the form that the API takes:
// whole seconds, or -1 for ever.
func stays(expires string, now time.Time) any {
	at, err := time.Parse(time.RFC3339Nano, expires)
	if err != nil {
		return "5m" // Ollama's default
	}
	left := at.Sub(now)
	if left > 10*365*24*time.Hour {
		return -1
	}
	return fmt.Sprintf("%ds", max(int(left.Round(time.Second)/time.Second), 1))
}
