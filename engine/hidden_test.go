package engine_test

import (
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/anthropic"
	services "github.com/llm-speed/llm-speed/drivers/hosted"
	"github.com/llm-speed/llm-speed/drivers/mlx"
	"github.com/llm-speed/llm-speed/drivers/ollama"
	"github.com/llm-speed/llm-speed/drivers/openaicompat"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
)

// hiddenSuite has one row of one stream of 100 tokens.
var hiddenPrograms = map[string]string{
	"suite.jsonnet": `{
  schema: 'llm-speed/suite/v1', name: 'hidden', version: '0.1.0', title: 'one row', engine: 1, generator: 'prose/1',
  budget: { default_s: 1, quick_s: 1 },
  workloads: [
    { id: 'one', name: 'one stream', doc: 'one', program: 'one.star', params: { out: 100 }, passes: 1,
      needs: [{ context: 500, parallel: 1, prompt: 200, output: 100 }], reports: ['decode_tps'] },
  ],
}`,
	"one.star": flagPrograms["one.star"],
}

// hiddenProfile has a token every 4 ms, exactly, whatever came before.
func hiddenProfile() sim.Profile {
	p := quickProfile()
	p.Name = "hidden"
	return p
}

// TestNoRateIsOffByMoreThanItSays: services that count tokens and never stream them, with few and with many tokens an event.
// 250 tok/s are true. A rate that is shown is that, or says by how much it may be too high; and where nothing is hidden there is
// one, unless nobody can know it.
func TestNoRateIsOffByMoreThanItSays(t *testing.T) {
	specs := map[string]drivers.Spec{"anthropic": anthropic.Spec(), "openai-compatible": openaicompat.Spec(), "ollama": ollama.Spec(), "mlx": mlx.Spec()}
	for _, s := range services.Specs() {
		specs[s.Name] = s
	}
	model := hiddenProfile().Model()
	dialects := []struct{ backend, dialect, model string }{
		{"together", "together", model}, {"anthropic", "anthropic", model}, {"openai-compatible", "vllm", model}, {"openai-compatible", "together", model}, {"fireworks", "fireworks", "accounts/fireworks/models/" + model},
		{"deepseek", "deepseek", model}, {"groq", "groq", model}, {"openai", "openai", model}, {"openrouter", "openrouter", "simulated/" + model}, {"cerebras", "cerebras", model}, {"ollama", "ollama", model}, {"mlx", "mlx", model},
	}
	if testing.Short() {
		dialects = dialects[:3]
	}
	for _, d := range dialects {
		spec, ok := specs[d.backend]
		if !ok {
			t.Fatalf("no driver %q", d.backend)
		}
		t.Run(d.backend+" on "+d.dialect, func(t *testing.T) {
			t.Parallel() // they wait for tokens most of their time
			s, err := sim.Start(t.Context(), sim.Options{Profile: hiddenProfile(), Dialect: d.dialect, Log: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			for _, hidden := range []int{0, 5, 20, 50} {
				for _, each := range []int{1, 4} {
					s.SetTraps(trapsOf(t, fmt.Sprintf("reasoning-hidden=%d,tokens-per-event=%d", hidden, each)))
					var row record.Row
					fault := "not tried"
					for range 5 { // a busy machine is late, and that is no defect
						row = hiddenRow(t, spec, s.URL(), d.model)
						if fault = wrongRate(&row, hidden, each); fault == "" {
							break
						}
					}
					if fault != "" {
						t.Errorf("%d %% hidden, %d an event: %s", hidden, each, fault)
					}
					t.Logf("| %s | %d %% | %d | %s | %s", d.backend, hidden, each, rateOf(&row), row.Reasons["decode_tps"])
				}
			}
		})
	}
}

// rateOf is the row's rate in words.
func rateOf(row *record.Row) string {
	if row.DecodeTPS == nil {
		return "null"
	}
	text := fmt.Sprintf("%.1f", *row.DecodeTPS)
	if row.DecodeOver != nil {
		text += fmt.Sprintf(", up to %.1f %% too high", 100**row.DecodeOver)
	}
	return text
}

// wrongRate says what is wrong with the rate of a row whose tokens come at 250 tok/s; empty where nothing is.
func wrongRate(row *record.Row, hidden, each int) string {
	const truth = 250
	over := 0.0
	if row.DecodeOver != nil {
		over = *row.DecodeOver
	}
	switch x := row.DecodeTPS; {
	case math.IsNaN(over):
		return "no bound"
	case x == nil && hidden == 0:
		return "nothing hidden, and no rate: " + row.Reasons["decode_tps"]
	case x != nil && (*x > truth*(1+over)*1.02 || *x < truth*0.85):
		return "decode " + rateOf(row)
	}
	if in := row.Samples[0].Inputs; hidden == 0 && each == 4 && row.TokensHow == "estimated" && in.FirstTokens != 1 {
		return fmt.Sprintf("the first event has one token, and %d were counted", in.FirstTokens) // an even spread would be off by 3 %
	}
	return ""
}

// hiddenRow measures the row once.
func hiddenRow(t *testing.T, spec drivers.Spec, url, model string) record.Row {
	t.Helper()
	res, err := engine.Run(t.Context(), engine.Options{
		Suite: load(t, "1", hiddenPrograms), Official: true, Spec: spec, Seed: 7, RunID: "test", Repeats: 1,
		Config: drivers.Config{URL: url, Model: model, APIKey: drivers.NewSecret("key"), Env: func(string) string { return "" }, Log: func(string, ...any) {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != 1 || res.Rows[0].Status != record.OK {
		t.Fatalf("%+v", res.Rows)
	}
	return res.Rows[0]
}
