package mlx

import (
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

func simulated(t *testing.T, dialect string) *sim.Server {
	t.Helper()
	profile, err := sim.Lookup("fast")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sim.Start(t.Context(), sim.Options{Profile: profile, Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv
}

func TestServerOfTheSimulator(t *testing.T) {
	srv := simulated(t, "mlx")
	ses, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL(), Clock: clock.New(), Log: t.Logf}, drivers.Need{Context: 100, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	i := ses.Info()
	if !i.Simulated || i.Version != "0.32.0" || !strings.HasPrefix(i.Build, "applegpu") || i.Template == drivers.NotKnown {
		t.Errorf("info: %+v", i)
	}
	rec, tr := drivertest.Streamed(t, ses, drivers.Request{Prompt: user("hello there"), OutputTokens: 64, Slot: drivers.AnySlot})
	if tr.Counts.Output != used(64) || tr.Finish != stream.FinishLength || !tr.Counts.Cached.Known() || len(tr.Events) == 0 || rec.Outcome != stream.Complete {
		t.Errorf("counts %+v, finish %q, %d events", tr.Counts, tr.Finish, len(tr.Events))
	}
}

// TestNoOtherDialectIsTakenForMLX looks at all the servers that the simulator can play.
func TestNoOtherDialectIsTakenForMLX(t *testing.T) {
	for _, d := range sim.Dialects() {
		srv := simulated(t, d.Name)
		f := detectServer(t.Context(), drivers.Config{URL: srv.URL(), Clock: clock.New()})
		if (f != nil) != (d.Name == "mlx") {
			t.Errorf("%s: %+v", d.Name, f)
		}
	}
}
