package engine

import (
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// TestServes is which rows an open session will do for.
func TestServes(t *testing.T) {
	own, any := drivers.Info{}, drivers.Info{AnyParallel: true}
	attached, sized := drivers.Info{Attached: true}, drivers.Info{Attached: true, Sized: true, AnyParallel: true}
	for _, c := range []struct {
		name string
		info drivers.Info
		need suite.Need
		want bool
	}{
		{"as opened", own, suite.Need{Context: 4096, Parallel: 1}, true},
		{"less", own, suite.Need{Context: 1024, Parallel: 1}, true},
		{"more context", own, suite.Need{Context: 8192, Parallel: 1}, false},
		{"another parallelism", own, suite.Need{Context: 1024, Parallel: 8}, false},
		{"another parallelism, which does not matter to it", any, suite.Need{Context: 1024, Parallel: 8}, true},
		{"more context, and the parallelism does not matter", any, suite.Need{Context: 8192, Parallel: 8}, false},
		{"attached", attached, suite.Need{Context: 99999, Parallel: 8}, true},
		{"attached and shaped by Open", sized, suite.Need{Context: 8192, Parallel: 8}, false},
		{"attached and shaped by Open, large enough", sized, suite.Need{Context: 4096, Parallel: 8}, true},
	} {
		s := session{info: c.info, need: drivers.Need{Context: 4096, Parallel: 1}}
		if got := s.serves(c.need); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
