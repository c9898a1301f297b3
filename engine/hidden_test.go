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
	const truth = 250
	specs := map[string]drivers.Spec{"anthropic": anthropic.Spec(), "openai-compatible": openaicompat.Spec(), "ollama": ollama.Spec(), "mlx": mlx.Spec()}
	for _, s := range services.Specs() {
		specs[s.Name] = s
	}
	model := hiddenProfile().Model()
	dialects := []struct{ backend, dialect, model string }{
		{"together", "together", model}, {"anthropic", "anthropic", model}, {"openai-compatible", "vllm", model}, {"openai-compatible", "together", model}, {"fireworks", "fireworks", "accounts/fireworks/models/" + model},
		{"deepseek", "deepseek", model}, {"groq", "groq", model}, {"openai", "openai", model}, {"openrouter", "openrouter", "simulated/" + model}, {"cerebras", "cerebras", model}, {"ollama", "ollama", model}, {"mlx", "mlx", model},
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
					row := hiddenRow(t, spec, s.URL(), d.model)
					text, over := "null", 0.0
					if row.DecodeOver != nil {
						over = *row.DecodeOver
					}
					if row.DecodeTPS != nil {
						text = fmt.Sprintf("%.1f", *row.DecodeTPS)
						if over > 0 {
							text += fmt.Sprintf(", up to %.1f %% too high", 100*over)
						}
						// 3 % is what the sockets of a busy machine may cost.
						if x := *row.DecodeTPS; x > truth*(1+over)*1.03 || x < truth*0.9 {
							t.Errorf("%d %% hidden, %d an event: decode %s", hidden, each, text)
						}
					} else if hidden == 0 {
						t.Errorf("nothing hidden, %d an event: no rate: %s", each, row.Reasons["decode_tps"])
					}
					if in := row.Samples[0].Inputs; hidden == 0 && each == 4 && row.TokensHow == "estimated" && in.FirstTokens != 1 {
						t.Errorf("the first event has one token, and %d were counted", in.FirstTokens) // an even spread would be off by 3 %
					}
					t.Logf("| %s | %d %% | %d | %s | %d | %s", d.backend, hidden, each, text, truth, row.Reasons["decode_tps"])
					if math.IsNaN(over) {
						t.Error("no bound")
					}
				}
			}
		})
	}
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
