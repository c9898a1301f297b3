package builtins

import (
	"io/fs"
	"strings"
	"testing"
)

// TestSpecsAreTheSurface calls every builtin without arguments and with an unknown one, and looks its attributes up.
func TestSpecsAreTheSurface(t *testing.T) {
	receivers := map[string]string{"prompt": "prompt(tokens = 8)", "timer": "timer()", "w": "w"}
	for _, s := range Specs() {
		if s.call == nil {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			fn := s.Name
			if recv, method, ok := strings.Cut(s.Name, "."); ok {
				fn = receivers[recv] + "." + method
			}
			required := ""
			for _, p := range s.Params {
				if p.Required && required == "" {
					required = p.Name
				}
				if p.Required == (p.Default != "") {
					t.Errorf("%s: required %v with default %q", p.Name, p.Required, p.Default)
				}
				if p.Type == "" || p.Doc == "" {
					t.Errorf("%s has no type or no doc", p.Name)
				}
			}
			if s.Doc == "" {
				t.Error("no doc")
			}
			err := runLine(t, fn+"()")
			switch {
			case required != "" && (err == nil || !strings.Contains(err.Error(), "missing argument for "+required)):
				t.Errorf("without arguments: got %v, want %s to be missed", err, required)
			case required == "" && s.Name != "prompt" && err != nil:
				t.Errorf("without arguments: %v", err)
			}
			err = runLine(t, fn+"(no_such_argument = 1)")
			if err == nil || !strings.Contains(err.Error(), "unexpected keyword argument") && !strings.Contains(err.Error(), "does not accept") {
				t.Errorf("unknown argument: got %v", err)
			}
			err = runLine(t, fn+"(1, 2, 3, 4, 5, 6, 7)")
			if err == nil || !strings.Contains(err.Error(), "want at most") {
				t.Errorf("too many arguments: got %v", err)
			}
		})
	}
}

// runLine runs one expression inside run(w).
func runLine(t *testing.T, expr string) error {
	t.Helper()
	p, err := Compile("main.star", []byte("def run(w):\n    "+expr+"\n"), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
	if err != nil {
		t.Fatal(err)
	}
	return p.Run(t.Context(), &scriptedHost{print: []byte(`{}`)}, Point{})
}

func TestAttrsAreThere(t *testing.T) {
	for expr, attrs := range map[string][]Attr{
		"prompt(tokens = 8)":                                         promptSpec().Gives,
		"stream(prompt(tokens = 8), output_tokens = 4)":              streamAttrs(),
		"stream([prompt(tokens = 8)], output_tokens = 4).streams[0]": streamAttrs(),
		"stream([prompt(tokens = 8)], output_tokens = 4)":            {{Name: "streams"}, {Name: "aggregate_tps"}, {Name: "overlap_ms"}, {Name: "wall_ms"}},
		"timer()": timerSpec().Gives,
		"w":       wSpec().Gives,
	} {
		want := make([]string, len(attrs))
		for i, a := range attrs {
			want[i] = `"` + a.Name + `"`
		}
		list := "[" + strings.Join(want, ", ") + "]"
		if err := runLine(t, "fail('' if sorted(dir("+expr+")) == sorted("+list+") else dir("+expr+"))"); err == nil || !strings.HasSuffix(err.Error(), "fail: ") {
			t.Errorf("%s: got %v, want the attributes %s", expr, err, list)
		}
	}
}

func TestDocsNameEverything(t *testing.T) {
	docs := Docs()
	for _, s := range Specs() {
		if !strings.Contains(docs, "### `"+s.Signature()+"`") {
			t.Errorf("%s is missing", s.Name)
		}
	}
	if want := "### `stream(prompt, *, output_tokens, reasoning = None, stagger_ms = 0)`"; !strings.Contains(docs, want) {
		t.Errorf("no %s", want)
	}
}
