package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
)

// hostedCeiling is the most tokens that a run on a hosted service takes where --max-tokens-total says nothing else.
const hostedCeiling = 100_000

// spending are the flags about what a run may take.
type spending struct {
	maxTokens int
	keepText  bool
}

func (s *spending) flags(f *pflag.FlagSet) {
	f.IntVar(&s.maxTokens, "max-tokens-total", 0, fmt.Sprintf("at most `N` tokens in all requests, prompts and outputs, warm-ups and probes too (default: %d on a hosted service, else no limit)", hostedCeiling))
	f.BoolVar(&s.keepText, "keep-text", false, "keep the text of a hosted service's answers in the raw recordings")
}

// check refuses what makes no sense.
func (s *spending) check(changed func(string) bool) error {
	if s.maxTokens < 0 || changed("max-tokens-total") && s.maxTokens == 0 {
		return usagef("--max-tokens-total %d: want a number of tokens above 0", s.maxTokens)
	}
	return nil
}

// ceiling is the ceiling of a run on a backend; 0: none.
func (s *spending) ceiling(spec drivers.Spec) int {
	if s.maxTokens == 0 && spec.Kind == drivers.Hosted {
		return hostedCeiling
	}
	return s.maxTokens
}

// costLines say what a run will send and what holds it back, before its first request; none where neither money nor a
// ceiling is in play.
func (s *spending) costLines(spec drivers.Spec, e engine.Estimate) []string {
	most := s.ceiling(spec)
	if most == 0 {
		return nil
	}
	cost, which := "", ""
	if spec.Kind != drivers.Hosted {
		which = "first passes: " // further ones follow as the time budget and the ceiling allow
	}
	if usd, ok := e.USD(); ok {
		cost = fmt.Sprintf(", at most %s by the prices of %s", dollars(usd), e.Price.From)
	} else if spec.Kind == drivers.Hosted {
		cost = "; the service states no prices"
	}
	lines := []string{fmt.Sprintf("%sup to %s prompt and %s output tokens in %s%s", which, grouped(e.Prompt), grouped(e.Output), report.Count(e.Requests, "request"), cost)}
	ceiling := fmt.Sprintf("ceiling: %s tokens", grouped(most))
	if s.maxTokens == 0 {
		ceiling += ", the default for a hosted service"
	}
	if e.Prompt+e.Output > most {
		ceiling += "; rows that do not fit are skipped (--max-tokens-total gives more, --quick and --workload take less)"
	}
	return append(lines, ceiling)
}

// dollars prints an amount so that small ones do not vanish.
func dollars(x float64) string {
	switch {
	case x >= 0.995:
		return fmt.Sprintf("$%.2f", x)
	case x >= 0.000095:
		return fmt.Sprintf("$%.2g", x)
	case x > 0:
		return "less than $0.0001"
	}
	return "$0"
}

// grouped prints a number with its thousands apart.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// spentLine says what a run took; empty where that is nobody's concern.
func (s *spending) spentLine(spec drivers.Spec, r *record.Result) string {
	t := r.Budget.Tokens
	if s.ceiling(spec) == 0 || t == nil {
		return ""
	}
	line := fmt.Sprintf("spent: %s prompt and %s output tokens", grouped(t.Prompt), grouped(t.Output))
	if t.Uncounted > 0 {
		line += fmt.Sprintf(", and at most %s that the service did not count", grouped(t.Uncounted))
	}
	return line
}

// cutRows are the rows of which the ceiling cut a pass off.
func cutRows(r *record.Result) []string {
	var rows []string
	for _, row := range r.Rows {
		if strings.Contains(row.Reason, " was cut: ") {
			rows = append(rows, row.Key)
		}
	}
	return rows
}

// costsMoney reports whether a backend may be used only when it is named: by --backend, or by a --url of its own.
func costsMoney(spec drivers.Spec, t target) bool { return spec.Kind == drivers.Hosted && t.url == "" }
