package drivers

import "testing"

func TestConfigValue(t *testing.T) {
	options := []Option{{Name: "start", Env: "X_START", Default: "auto"}, {Name: "path", Env: "X_PATH"}}
	env := map[string]string{"X_START": " never ", "X_PATH": "  "}
	of := func(env map[string]string) Config {
		return Config{Options: map[string]string{"path": "here"}, Env: func(k string) string { return env[k] }}
	}
	for _, c := range []struct{ name, got, want string }{
		{"chosen", of(env).Value(options, "path"), "here"},
		{"from the environment", of(env).Value(options, "start"), "never"},
		{"default", of(nil).Value(options, "start"), "auto"},
		{"blank in the environment", Config{Env: of(env).Env}.Value(options, "path"), ""},
		{"no environment", Config{}.Value(options, "start"), "auto"},
		{"no such option", of(env).Value(options, "other"), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}
