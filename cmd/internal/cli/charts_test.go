package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
)

func TestChartsAfterARun(t *testing.T) {
	rate := func(v float64) *float64 { return &v }
	r := &record.Result{Rows: []record.Row{
		{ID: "W3", Key: "W3/1", Point: map[string]any{"context": 1}, Status: record.OK, DecodeTPS: rate(10)},
		{ID: "W3", Key: "W3/2", Point: map[string]any{"context": 2}, Status: record.OK, DecodeTPS: rate(5)},
	}}
	for _, c := range []struct {
		name  string
		tty   bool
		width int
		env   map[string]string
		want  string // in the text; empty: no text at all
	}{
		{"a terminal", true, 100, map[string]string{"LANG": "de_DE.UTF-8"}, "████"},
		{"the first that is set counts", true, 100, map[string]string{"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "####"},
		{"no locale", true, 100, nil, "####"},
		{"Windows Terminal", true, 100, map[string]string{"WT_SESSION": "x"}, "████"},
		{"colours", true, 100, nil, "\x1b["},
		{"a file", false, 100, map[string]string{"LANG": "C.UTF-8"}, ""},
		{"a narrow terminal", true, 60, map[string]string{"LANG": "C.UTF-8"}, ""},
		{"a dumb terminal", true, 100, map[string]string{"TERM": "dumb"}, ""},
	} {
		var out bytes.Buffer
		a := &app{&Process{Stdout: &out, OutTTY: c.tty, Env: func(name string) string { return c.env[name] }, Width: func() int { return c.width }}}
		if err := a.charts(r); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); !strings.Contains(text, c.want) || (text == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q in it", c.name, text, c.want)
		}
	}
	var out bytes.Buffer
	a := &app{&Process{Stdout: &out, OutTTY: true, Env: func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }, Width: func() int { return 100 }}}
	if err := a.charts(r); err != nil || out.Len() == 0 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%v, with NO_COLOR: %q", err, out.String())
	}
}
