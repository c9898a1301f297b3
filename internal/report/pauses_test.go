package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
)

func TestPaused(t *testing.T) {
	for _, c := range []struct {
		pauses *record.Pauses
		want   string
	}{
		{nil, ""},
		{&record.Pauses{WaitedS: 23.6, Why: []string{"0 left of 6000 tokens, and 900 are needed"}}, "waited 24 s for the service's rate limits; that is in none of its times (0 left of 6000 tokens, and 900 are needed)"},
		{&record.Pauses{WaitedS: 7, Repeated: 1, Why: []string{"a", "b", "c"}}, "waited 7 s for the service's rate limits, sent again what the service had refused, 1 time; that is in none of its times (a; b)"},
		{&record.Pauses{Repeated: 2}, "sent again what the service had refused, 2 times; that is in none of its times"},
	} {
		if got := Paused(&record.Row{Pauses: c.pauses}); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	var out bytes.Buffer
	r := &record.Result{Rows: []record.Row{{Key: "W4/batch=8", Status: record.OK, Pauses: &record.Pauses{WaitedS: 23.6}}}}
	if err := Table(&out, r, Style{}); err != nil || !strings.Contains(out.String(), "- W4/batch=8: waited 24 s") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
