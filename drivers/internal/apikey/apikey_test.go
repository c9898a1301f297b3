package apikey

import (
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
)

func TestOf(t *testing.T) {
	for _, c := range []struct{ given, own, generic, want string }{
		{"", "", "", ""},
		{"", "own", "", "own"},
		{"", "own", "generic", "own"},
		{"", "", "generic", "generic"},
		{"generic", "own", "generic", "own"}, // the command line passes the generic one on
		{"generic", "", "generic", "generic"},
		{"given", "own", "generic", "given"},
		{"given", "own", "", "given"},
		{"given", "", "", "given"},
	} {
		env := map[string]string{"X_KEY": c.own, Generic: c.generic}
		got := Of(drivers.Config{APIKey: drivers.NewSecret(c.given), Env: func(n string) string { return env[n] }}, "X_KEY")
		if got.Reveal() != c.want {
			t.Errorf("given %q, own %q, generic %q: got %q, want %q", c.given, c.own, c.generic, got.Reveal(), c.want)
		}
	}
	if got := Of(drivers.Config{APIKey: drivers.NewSecret("k")}, "X_KEY"); got.Reveal() != "k" {
		t.Errorf("without an environment: %q", got.Reveal())
	}
}
