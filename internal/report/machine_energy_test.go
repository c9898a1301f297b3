package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
)

// An energy says by which sensor and from which sums it is; one that is null says why.
func TestExplainEnergy(t *testing.T) {
	r := full()
	each, sum := 5.25, 1050.0
	at := -1
	for i := range r.Rows {
		if r.Rows[i].Key == "W1" {
			at = i
		}
	}
	show := func(metric string) string {
		t.Helper()
		var out bytes.Buffer
		if err := Explain(&out, r, "W1", metric, nil, Style{Width: 120}); err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(out.String(), "\ntimed requests\n")
		return text
	}
	r.Rows[at].Energy = &record.Energy{
		Method: "power draw of one NVIDIA GPU by nvidia-smi, integrated; the whole GPU, idle power included", PerOutputToken: &each, DecodeJ: &sum, DecodeS: 4, DecodeTokens: 200,
		Reasons: record.Reasons{"per_prompt_token": "no interval is 3 s long"},
	}
	got := show("energy.per_output_token")
	for _, want := range []string{"energy.per_output_token = 5.25 J/token", "experimental", "method   power draw of one NVIDIA GPU", "1050.0 J · 4.0 s · 200 tokens · 262.5 W on average", "docs/methodology.md#energy"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if got := show("energy.per_prompt_token"); !strings.Contains(got, "null     no interval is 3 s long") || strings.Contains(got, "  method ") {
		t.Errorf("got\n%s", got)
	}
	r.Rows[at].Energy, r.Rows[at].Reasons = nil, record.Reasons{"energy": "no sensor here"}
	if got := show("energy"); !strings.Contains(got, "null     no sensor here") || !strings.Contains(got, "#energy") {
		t.Errorf("got\n%s", got)
	}
}

func TestParametersText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 parameters", 320: "320 parameters", 144704: "145 k parameters", 268_000_000: "268 M parameters", 8_190_000_000: "8.19 B parameters",
		70_600_000_000: "70.6 B parameters", 999_700_000: "1 B parameters", 1_026_000_000_000: "1.03 T parameters",
	} {
		if got := parametersText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
