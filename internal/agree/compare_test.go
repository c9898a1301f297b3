package agree

import (
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/measure"
)

func TestRates(t *testing.T) {
	known, none := measure.Known, measure.Unknown
	for _, c := range []struct {
		name           string
		pairs          []pair
		reason         string
		off            *float64
		ok             *bool
		client, server float64
	}{
		{"alike", []pair{{known(100), known(100)}}, "", ptr(0.0), ptr(true), 100, 100},
		{"at the limit", []pair{{known(102), known(100)}}, "", ptr(0.02), ptr(true), 102, 100},
		{"over", []pair{{known(97.9), known(100)}}, "", ptr(-0.021), ptr(false), 97.9, 100},
		// Each request is compared with itself: a machine that halves its speed midway is no difference.
		{"a machine that slows down", []pair{{known(100), known(100)}, {known(50), known(50)}, {known(25.5), known(25)}}, "", ptr(0.0), ptr(true), 50, 50},
		{"one of three spoilt", []pair{{known(100), known(100)}, {known(10), known(100)}, {known(100.5), known(100)}}, "", ptr(0.0), ptr(true), 100, 100},
		{"the server says nothing", []pair{{known(100), none("no time")}}, "no time", nil, nil, 100, -1},
		{"the client knows nothing", []pair{{none("one read"), known(90)}}, "one read", nil, nil, -1, 90},
		{"neither", []pair{{none("one read"), none("no time")}}, "client: one read; server: no time", nil, nil, -1, -1},
		{"nothing at all", nil, "no request of this length", nil, nil, -1, -1},
		{"a rate of 0", []pair{{known(1), known(0)}}, "rate of 0", nil, nil, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rates(Comparison{Limit: ptr(0.0200001)}, c.pairs)
			if (got.OK == nil) != (c.ok == nil) || got.OK != nil && *got.OK != *c.ok {
				t.Errorf("verdict %v", got.OK)
			}
			if (got.Difference == nil) != (c.off == nil) || got.Difference != nil && (*got.Difference-*c.off > 1e-9 || *c.off-*got.Difference > 1e-9) {
				t.Errorf("difference %v", number0(got.Difference))
			}
			if number0(got.Client) != c.client || number0(got.Server) != c.server {
				t.Errorf("client %g, server %g", number0(got.Client), number0(got.Server))
			}
			if !strings.Contains(got.Reason, c.reason) || c.reason == "" && got.Reason != "" {
				t.Errorf("reason %q", got.Reason)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	pairs := [][2]int{{5, 5}, {7, 8}, {8, 7}}
	c := equal(Comparison{}, 3, func(i int) (int, int, string) { return pairs[i][0], pairs[i][1], "" })
	// Sums that are equal by chance do not hide requests that are not.
	if c.OK == nil || *c.OK || *c.Client != 20 || *c.Server != 20 || c.Reason != "request 2 of 3: 7 here, 8 by the server" {
		t.Errorf("%+v", c)
	}
	c = equal(Comparison{}, 2, func(i int) (int, int, string) { return 3, 3, []string{"", "not known"}[i] })
	if c.OK != nil || c.Client != nil || c.Difference != nil || c.Reason != "not known" || c.Requests != 0 {
		t.Errorf("%+v", c)
	}
	if c = equal(Comparison{}, 0, nil); c.OK != nil || c.Reason != "no request" {
		t.Errorf("%+v", c)
	}
	c = equal(Comparison{}, 1, func(int) (int, int, string) { return 0, 0, "" })
	if c.OK == nil || !*c.OK || *c.Difference != 0 {
		t.Errorf("%+v", c)
	}
}
