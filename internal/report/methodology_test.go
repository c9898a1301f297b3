package report

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sections are the headings of the page as a reader's link has them.
func sections(t *testing.T) (page string, headings []string) {
	t.Helper()
	b, err := os.ReadFile("../../" + methodologyPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^## ([a-z-]+)$`).FindAllSubmatch(b, -1) {
		headings = append(headings, string(m[1]))
	}
	return string(b), headings
}

// Each figure that explain can show has a heading on the page that its explanation points to.
func TestEveryMetricHasItsSection(t *testing.T) {
	_, headings := sections(t)
	want := []string{relativeSection, recordedSection}
	for _, f := range catalogue() {
		at := section(f.Name)
		if at == "" {
			t.Errorf("%s has no section", f.Name)
		}
		want = append(want, at)
	}
	for _, name := range want {
		if !slices.Contains(headings, name) {
			t.Errorf("%s has no heading %q; it has %v", methodologyPage, "## "+name, headings)
		}
	}
	for i, name := range headings {
		if slices.Contains(headings[:i], name) {
			t.Errorf("heading %q stands twice: a link to it finds the first", name)
		}
	}
}

// A section that a page's own links name exists.
func TestLinksInsideThePage(t *testing.T) {
	page, headings := sections(t)
	for _, m := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(headings, m[1]) {
			t.Errorf("a link to #%s, which is no heading", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([a-z]+\.md)\)`).FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat("../../docs/" + m[1]); err != nil {
			t.Error(err)
		}
	}
}

// An explanation says where its figures are explained, each once.
func TestExplainPointsToThePage(t *testing.T) {
	for _, c := range []struct{ row, metric, want string }{
		{"W1", "ttft_ms", "docs/methodology.md#ttft"},
		{"W1", "decode_tps", "docs/methodology.md#decode"},
		{"W4/8", "aggregate_tps", "docs/methodology.md#aggregate"},
		{"W3/32k", "prefix_cache_hit_rate", "docs/methodology.md#hit-rate"},
	} {
		var out bytes.Buffer
		if err := Explain(&out, full(), c.row, c.metric, nil, Style{Width: 100}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "  see      "+c.want+"\n"); n != 1 {
			t.Errorf("%s %s: %q stands %d times:\n%s", c.row, c.metric, c.want, n, out.String())
		}
	}
}

// The page says of each flag when it is raised.
func TestEveryFlagIsOnThePage(t *testing.T) {
	page, _ := sections(t)
	for _, name := range strings.Fields(`cache_contaminated cold_unproved contradiction early_stop coalesced proxy_buffered client_bound prompt_drift
		count_provenance_D count_provenance_E thermal on_battery gpu_busy cpu_busy cpu_fallback model_mismatch other_traffic unstable truncated_context server_queued errors simulated quick`) {
		if !strings.Contains(page, "| `"+name+"` |") {
			t.Errorf("%s has no line about the flag %s", methodologyPage, name)
		}
	}
}
