package engine

import (
	"testing"

	"github.com/llm-speed/llm-speed/internal/measure"
)

// TestPrefillOfATurn: a conversation has one cold prompt and many turns that go on with it. Where the rate is the client's
// estimate, only the cold one has any, and it is the pass's; where cold prompts mostly show none, the pass has none.
func TestPrefillOfATurn(t *testing.T) {
	cold := func(v measure.Value) measured {
		return measured{Sample: measure.Sample{Cold: measure.ColdAssumed}, prefill: v}
	}
	warm := func(v measure.Value) measured {
		return measured{Sample: measure.Sample{Cold: measure.Reuse}, prefill: v}
	}
	none := measure.Unknown("the prompt was not cold")
	failed := measured{Sample: measure.Sample{Err: "reset"}, prefill: none}
	for name, c := range map[string]struct {
		samples []measured
		want    float64 // 0: none
	}{
		"estimated for the cold turn":     {[]measured{cold(measure.Known(900)), warm(none), warm(none), warm(none)}, 900},
		"stated for every turn":           {[]measured{cold(measure.Known(900)), warm(measure.Known(500)), warm(measure.Known(700))}, 700},
		"shown by one of three cold ones": {[]measured{cold(measure.Known(900)), cold(none), cold(none), warm(none)}, 0},
		"nothing cold":                    {[]measured{warm(none), failed}, 0},
	} {
		v := prefillOf(&passResult{samples: c.samples})
		if v.Known != (c.want > 0) || v.Known && v.X != c.want || !v.Known && v.Why == "" {
			t.Errorf("%s: %+v, want %v", name, v, c.want)
		}
	}
}
