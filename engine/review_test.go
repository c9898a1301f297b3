package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
)

func TestResumeThatCanNotGoOnLosesNothing(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		o := options(s, &fakeConf{})
		o.Workloads = []string{"short", "talk"}
		first, err := engine.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		first.State, first.Rows[1].Status = record.Partial, record.Failed
		var saved *record.Result
		o = options(s, &fakeConf{openErr: func(int, drivers.Need) error { return drivers.ErrUnreachable }})
		o.Workloads, o.Resume = []string{"short", "talk"}, first
		o.Save = func(r *record.Result) error { saved = r; return nil }
		if _, err := engine.Run(t.Context(), o); !errors.Is(err, engine.ErrNoBackend) {
			t.Fatalf("error is %v", err)
		}
		if len(saved.Rows) != 2 || saved.Rows[0].Status != record.OK || saved.Model.Name != "m" || len(saved.Raw) == 0 {
			t.Errorf("saved: %d rows, model %q, %d raw files; want what there was", len(saved.Rows), saved.Model.Name, len(saved.Raw))
		}
	})
}

func TestResumeOfLessKeepsTheRest(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		first, err := engine.Run(t.Context(), options(s, &fakeConf{}))
		if err != nil {
			t.Fatal(err)
		}
		o := options(s, &fakeConf{})
		o.Workloads, o.Resume = []string{"short"}, first
		again, err := engine.Run(t.Context(), o)
		if err != nil || len(again.Rows) != 6 || again.Model.Name != "m" || again.Backend.Version != "1" {
			t.Errorf("%v: %d rows, model %q; want all six as they were", err, len(again.Rows), again.Model.Name)
		}
	})
}

func TestEstimatedPrefillIsForStreamsThatRunAlone(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		res, err := engine.Run(t.Context(), options(s, &fakeConf{}))
		if err != nil {
			t.Fatal(err)
		}
		got := rows(t, res)
		if r := got["many/n=4"]; r.PrefillTPS != nil || !strings.Contains(r.Reasons["prefill_tps"], "runs alone") {
			t.Errorf("prefill of a batch is %s (%s); want null with its reason", show(r.PrefillTPS), r.Reasons["prefill_tps"])
		}
		if r := got["short"]; r.ColdProbe == nil || r.ColdProbe.Tokens < 5 || r.ColdProbe.TTFTms <= 0 {
			t.Errorf("cold probe is %+v; want what the estimate was taken against", r.ColdProbe)
		}
	})
}

func TestServerThatDiedIsStartedAgain(t *testing.T) {
	s := load(t, "5", nil)
	synctest.Test(t, func(t *testing.T) {
		conf := &fakeConf{}
		died := false
		conf.fail = func(r drivers.Request) error {
			conf.mu.Lock()
			defer conf.mu.Unlock()
			if r.OutputTokens == 101 && len(conf.outputs) > 7 && !died {
				died = true
			}
			if died && len(conf.opened) == 1 {
				return fmt.Errorf("%w: killed", drivers.ErrServerDied)
			}
			return nil
		}
		o := options(s, conf)
		o.Workloads, o.Repeats = []string{"short"}, 6
		res, err := engine.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		row := rows(t, res)["short"]
		failed := 0
		for _, smp := range row.Samples {
			if smp.Error != "" {
				failed++
			}
		}
		if !died || failed != 1 || row.Passes != 5 || len(conf.opened) != 2 {
			t.Errorf("died %t: %d requests failed, %d passes are good, %d servers were opened; want 1, 5 and 2", died, failed, row.Passes, len(conf.opened))
		}
		flagged := false
		for _, f := range row.Flags {
			flagged = flagged || f.Name == "errors"
			if f.Name == "early_stop" || f.Name == "count_provenance_E" {
				t.Errorf("flag %s comes from half a stream", f.Name)
			}
		}
		if !flagged {
			t.Errorf("flags are %v; want errors", row.Flags)
		}
	})
}

// TestServerThatCameBack: a server that ran already was lost and is there again. Rows of before get no further passes from it:
// it may be another one.
func TestServerThatCameBack(t *testing.T) {
	s := load(t, "60", nil)
	synctest.Test(t, func(t *testing.T) {
		conf := &fakeConf{attached: true}
		atLoss := -1
		conf.fail = func(r drivers.Request) error {
			conf.mu.Lock()
			defer conf.mu.Unlock()
			if len(conf.opened) > 1 || r.OutputTokens == 101 {
				return nil
			}
			if slices.Contains(conf.outputs, 101) {
				if atLoss < 0 {
					atLoss = len(conf.outputs)
				}
				return fmt.Errorf("%w: closed", drivers.ErrReset)
			}
			return nil
		}
		o := options(s, conf)
		o.Workloads = []string{"short", "many"}
		res, err := engine.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		again := 0
		for _, n := range conf.outputs[max(atLoss, 0):] {
			if n == 101 {
				again++
			}
		}
		said := strings.Contains(strings.Join(res.Budget.Cut, " "), "the server was lost after it")
		if atLoss < 0 || len(conf.opened) < 2 || again > 0 || !said {
			t.Errorf("lost at %d, opened %d times, %d more passes of the first row; cut %q", atLoss, len(conf.opened), again, res.Budget.Cut)
		}
	})
}

func TestAProgramThatStreamsNothingHasFailed(t *testing.T) {
	s := load(t, "5", map[string]string{"short.star": "def run(w):\n    pass\n"})
	synctest.Test(t, func(t *testing.T) {
		res, err := engine.Run(t.Context(), options(s, &fakeConf{}))
		if err != nil {
			t.Fatal(err)
		}
		if r := rows(t, res)["short"]; r.Status != record.Failed || !strings.Contains(r.Reason, "streamed nothing") {
			t.Errorf("row is %s (%s)", r.Status, r.Reason)
		}
	})
}

func TestARowsBytesDoNotDependOnTheOthers(t *testing.T) {
	s := load(t, "5", nil)
	prompts := func(workloads ...string) string {
		conf := &fakeConf{}
		synctest.Test(t, func(t *testing.T) {
			o := options(s, conf)
			o.Workloads, o.Repeats = workloads, 1
			if _, err := engine.Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		})
		return conf.prompts[len(conf.prompts)-1]
	}
	if prompts("grow") != prompts("short", "grow") {
		t.Error("the last row's prompt is another one when a row runs before it")
	}
}
