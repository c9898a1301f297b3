package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var updateMachines = flag.Bool("update-machines", false, "write the pages of the machines as they come out")

// Each machine that package hw knows as a recording has its page, at the usual width and at a narrow one.
func TestMachinePages(t *testing.T) {
	files, err := filepath.Glob("../hw/testdata/golden/*.json")
	if err != nil || len(files) < 17 {
		t.Fatalf("%d machines, %v", len(files), err)
	}
	var all bytes.Buffer
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Fingerprint, State json.RawMessage }
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		all.WriteString("== " + strings.TrimSuffix(filepath.Base(file), ".json") + "\n")
		for _, width := range []int{80, 50} {
			var out bytes.Buffer
			if err := Machine(&out, doc.Fingerprint, doc.State, Style{Width: width}); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			for line := range strings.Lines(out.String()) {
				// A name alone may be longer than the page: it is not broken.
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width && strings.Contains(strings.TrimSpace(line[11:]), separator) {
					t.Errorf("%s: %d columns of %d: %q", file, n, width, line)
				}
			}
			if width == 80 {
				all.Write(out.Bytes())
			}
			if strings.Contains(out.String(), "null") || strings.Contains(out.String(), " 0 B") || strings.Contains(out.String(), " 0 core") || strings.Contains(out.String(), "NaN") {
				t.Errorf("%s: what is not known is shown:\n%s", file, out.String())
			}
		}
	}
	golden := "testdata/machines.golden"
	if *updateMachines {
		if err := os.WriteFile(golden, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")), all.Bytes()) {
		t.Errorf("the pages differ from %s (%v); look at them, then run with -update-machines", golden, err)
	}
}

func TestMachinePageOfRubbish(t *testing.T) {
	for _, c := range []string{"", "{", "[]", `{"gpus":5}`} {
		if err := Machine(&bytes.Buffer{}, json.RawMessage(c), nil, Style{}); err == nil {
			t.Errorf("%q is shown", c)
		}
	}
	var out bytes.Buffer
	if err := Machine(&out, json.RawMessage(`{"gpus":null,"reasons":{"gpus":"no answer within 900ms"}}`), nil, Style{}); err != nil || !strings.Contains(out.String(), "not known: no answer within 900ms") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestMachineHints(t *testing.T) {
	show := func(fingerprint, state string) string {
		var out bytes.Buffer
		if err := Machine(&out, json.RawMessage(fingerprint), json.RawMessage(state), Style{Width: 200}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	quiet := show(`{"cpu":{"threads":2},"gpus":[]}`, `{"on_battery":false,"cpu_percent":90,"load_1m":0.9,"cpu_speed_limit_percent":100,"gpus":[{"use_percent":2}]}`)
	if strings.Contains(quiet, "!") {
		t.Errorf("a hint where nothing is wrong:\n%s", quiet)
	}
	loud := show(`{"cpu":{"threads":8,"translated":true},"gpus":[{"name":"x","vendor":"nvidia"}],"reasons":{"gpus":"may be incomplete: no answer"}}`,
		`{"on_battery":true,"load_1m":6.25,"cpu_speed_limit_percent":60,"power_mode":"low","gpus":[{"vendor":"nvidia","use_percent":40,"clock_reasons":["hw_thermal_slowdown"]}]}`)
	for _, want := range []string{"on battery", "60 % of its speed", "saves power", "emulation", "load 6.2 on 8 threads", "gpu_busy", "heat", "may be incomplete"} {
		if !strings.Contains(loud, want) {
			t.Errorf("%q is missing:\n%s", want, loud)
		}
	}
}
