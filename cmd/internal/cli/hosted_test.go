package cli

import (
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
)

func TestCostLines(t *testing.T) {
	hosted, local := drivers.Spec{Kind: drivers.Hosted}, drivers.Spec{Kind: drivers.Local}
	price := &drivers.Price{Prompt: 3e-6, Output: 15e-6, From: "here"}
	for _, c := range []struct {
		name  string
		flags spending
		spec  drivers.Spec
		e     engine.Estimate
		want  []string // parts of the lines; none: no lines
	}{
		{"local", spending{}, local, engine.Estimate{Prompt: 1e6}, nil},
		{"local with a ceiling", spending{maxTokens: 5000}, local, engine.Estimate{Requests: 3, Prompt: 1200, Output: 80}, []string{"first passes: up to 1,200 prompt and 80 output tokens in 3 requests", "ceiling: 5,000 tokens"}},
		{"hosted, no price", spending{}, hosted, engine.Estimate{Requests: 1, Prompt: 1200, Output: 80}, []string{"in 1 request; the service states no prices", "ceiling: 100,000 tokens, the default for a hosted service"}},
		{"hosted, a price", spending{}, hosted, engine.Estimate{Requests: 9, Prompt: 40_000, Output: 1000, Price: price}, []string{"in 9 requests, at most $0.14 by the prices of here"}},
		{"over the ceiling", spending{}, hosted, engine.Estimate{Requests: 9, Prompt: 370_000, Output: 1000}, []string{"ceiling: 100,000 tokens, the default", "rows that do not fit are skipped", "--quick"}},
	} {
		got := strings.Join(c.flags.costLines(c.spec, c.e), "\n")
		if len(c.want) == 0 && got != "" {
			t.Errorf("%s: %s", c.name, got)
		}
		for _, part := range c.want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %q is not in:\n%s", c.name, part, got)
			}
		}
	}
}

func TestAmounts(t *testing.T) {
	for x, want := range map[float64]string{0: "$0", 0.00001: "less than $0.0001", 0.00014: "$0.00014", 0.0123: "$0.012", 0.5: "$0.5", 0.994: "$0.99", 0.996: "$1.00", 12.345: "$12.35", 1234.5: "$1234.50"} {
		if got := dollars(x); got != want {
			t.Errorf("%v is %s, want %s", x, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestSpentLine(t *testing.T) {
	r := &record.Result{Budget: record.Budget{Tokens: &record.Tokens{Prompt: 1234, Output: 56, Uncounted: 78}}}
	if got := (&spending{}).spentLine(drivers.Spec{Kind: drivers.Local}, r); got != "" {
		t.Errorf("local: %s", got)
	}
	if got, want := (&spending{}).spentLine(drivers.Spec{Kind: drivers.Hosted}, r), "spent: 1,234 prompt and 56 output tokens, and at most 78 that the service did not count"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPaidOnlyWhenNamed: what costs money is never among the backends that bench looks for by itself.
func TestPaidOnlyWhenNamed(t *testing.T) {
	for _, c := range []struct {
		kind drivers.Kind
		url  string
		want bool
	}{{drivers.Hosted, "", true}, {drivers.Hosted, "https://api.groq.com", false}, {drivers.Local, "", false}} {
		if got := costsMoney(drivers.Spec{Kind: c.kind}, target{url: c.url}); got != c.want {
			t.Errorf("%s at %q: %v", c.kind, c.url, got)
		}
	}
}
