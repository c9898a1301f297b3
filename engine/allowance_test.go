package engine_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
)

// greedy has a program that is modest while it is rehearsed, where a stream takes 600 ms, and asks for whatever it can get of
// a server.
func greedy(body string) map[string]string {
	files := maps.Clone(flagPrograms)
	files["one.star"] = `def run(w):
    first = stream(prompt(tokens = 200), output_tokens = w.params.out)
    if first.wall_ms == None or first.wall_ms > 500:
        return
` + body
	return files
}

// TestPassIsHeldToItsNeeds runs programs that rehearse well and then take more than their suite says: the host stops them.
func TestPassIsHeldToItsNeeds(t *testing.T) {
	for _, tt := range []struct {
		name, body, want string
	}{
		{"a loop", "    for _ in range(1000):\n        stream(prompt(tokens = 200), output_tokens = w.params.out)\n", "which allows 4992 at most"},
		{"long answers", "    for _ in range(100):\n        stream(prompt(tokens = 1), output_tokens = 32000)\n", "which allows 4992 at most"},
		{"one prompt again and again", "    p = prompt(messages = [{'role': 'user', 'content': 'word ' * 400}], cold = False)\n    for _ in range(1000):\n        stream(p, output_tokens = 1)\n", "which allows 4992 at most"},
		{"a conversation without end", "    p = prompt(messages = [{'role': 'user', 'content': 'word ' * 10}], cold = False)\n    for _ in range(1000):\n        p = p.extend([{'role': 'user', 'content': 'word ' * 10}])\n        stream(p, output_tokens = 1)\n", "which allows 4992 at most"},
		{"more text than fits", "    for i in range(4000):\n        prompt(text = 'x' * 10000000)\n", "hold more than 128 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := startSim(t, "")
			s := load(t, "1", greedy(tt.body))
			if err := engine.Rehearse(t.Context(), s, engine.InProcess); err != nil {
				t.Fatalf("the rehearsal finds it: %v", err)
			}
			res, err := engine.Run(t.Context(), engine.Options{
				Suite: s, Workloads: []string{"one"}, Spec: simdriver.Spec(), Seed: 7, RunID: "test", Repeats: 1, Compile: engine.InProcess,
				Config: drivers.Config{URL: srv.URL(), Env: func(string) string { return "" }, Log: func(string, ...any) {}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if row := res.Rows[0]; row.Status != record.Failed || !strings.Contains(row.Reason, tt.want) {
				t.Errorf("the row is %s: %.500s; want %q", row.Status, row.Reason, tt.want)
			}
		})
	}
}
