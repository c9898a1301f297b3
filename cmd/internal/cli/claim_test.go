package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/sim"
)

// stub is a driver that finds what it is told to.
func stub(name string, found ...drivers.Found) seen {
	return seen{spec: drivers.Spec{Name: name, Title: name, Kind: drivers.Local, Fallback: name == "any", Looked: "here", Start: "start " + name}, found: found}
}

func at(url string, usable bool, models ...drivers.Model) drivers.Found {
	return drivers.Found{URL: url, Usable: usable, Models: models}
}

func TestClaim(t *testing.T) {
	loaded := drivers.Model{Ref: "m", Loaded: true}
	for _, tt := range []struct {
		name    string
		answers []seen
		url     string
		want    map[string][]string // by driver, where
	}{
		{"each its own", []seen{stub("a", at("http://127.0.0.1:1", true)), stub("b", at("http://127.0.0.1:2", true))}, "", map[string][]string{"a": {"http://127.0.0.1:1"}, "b": {"http://127.0.0.1:2"}}},
		{"the fallback comes last", []seen{stub("any", at("http://localhost:1", true)), stub("b", at("http://127.0.0.1:1", true))}, "", map[string][]string{"b": {"http://127.0.0.1:1"}}},
		{"also after one that can't use it", []seen{stub("any", at("http://localhost:1", true)), stub("b", at("http://127.0.0.1:1", false))}, "", map[string][]string{"b": {"http://127.0.0.1:1"}}},
		{"the usable one", []seen{stub("a", at("http://127.0.0.1:1/", false)), stub("b", at("http://[::1]:1", true))}, "", map[string][]string{"b": {"http://[::1]:1"}}},
		{"the first of equals", []seen{stub("a", at("http://127.0.0.1:1", true)), stub("b", at("http://127.0.0.1:1/v1", true))}, "", map[string][]string{"a": {"http://127.0.0.1:1"}}},
		{"only the fallback", []seen{stub("a"), stub("any", at("http://127.0.0.1:1", true))}, "", map[string][]string{"any": {"http://127.0.0.1:1"}}},
		{"programs stay", []seen{stub("a", drivers.Found{Binary: "/a", Usable: true}), stub("b", drivers.Found{Binary: "/b"})}, "", map[string][]string{"a": {"/a"}, "b": {"/b"}}},
		{"but not beside a URL", []seen{stub("a", drivers.Found{Binary: "/a", Usable: true}), stub("b", at("http://h:1", true, loaded))}, "http://h:1", map[string][]string{"b": {"http://h:1"}}},
		{"ports that a scheme implies", []seen{stub("a", at("https://h", true)), stub("b", at("https://h:443/v1", true), at("http://h", true))}, "", map[string][]string{"a": {"https://h"}, "b": {"http://h"}}},
	} {
		claim(tt.answers, tt.url)
		got := map[string][]string{}
		for _, s := range tt.answers {
			for _, f := range s.found {
				got[s.spec.Name] = append(got[s.spec.Name], foundAt(f))
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// TestClaimSimulated lets every driver know what one of them saw: that a server is a simulator.
func TestClaimSimulated(t *testing.T) {
	unseen := at("http://127.0.0.1:1", true, drivers.Model{Ref: "m", Loaded: true})
	known := unseen
	known.Simulated = true
	answers := []seen{stub("a", unseen), stub("any", known), stub("b", drivers.Found{Binary: "/b", Usable: true})}
	claim(answers, "")
	if len(answers[0].found) != 1 || !answers[0].found[0].Simulated || len(answers[1].found) != 0 || answers[2].found[0].Simulated {
		t.Fatalf("%+v", answers)
	}
	if s, _, ok := pick(answers, target{}); !ok || s.spec.Name != "b" {
		t.Errorf("picked %q, %v: a simulator is never chosen unasked", s.spec.Name, ok)
	}
	if s, _, ok := pick(answers, target{url: "http://127.0.0.1:1"}); !ok || s.spec.Name != "a" {
		t.Errorf("picked %q, %v at the URL that was given", s.spec.Name, ok)
	}
}

func TestPick(t *testing.T) {
	model := func(ref string, loaded bool) drivers.Model {
		return drivers.Model{Ref: ref, Name: ref, Loaded: loaded, Path: "/models/" + ref}
	}
	program := stub("program", drivers.Found{Binary: "/p", Usable: true, Models: []drivers.Model{model("big", false)}})
	idle := stub("idle", at("http://h:1", true, model("mid", false)))
	busy := stub("busy", at("http://h:2", true, model("small:latest", true)))
	broken := stub("broken", at("http://h:3", false, model("big", true)))
	for _, tt := range []struct {
		name    string
		answers []seen
		model   string
		want    string
	}{
		{"nothing", []seen{stub("a"), broken}, "", ""},
		{"a loaded model first", []seen{broken, program, idle, busy}, "", "busy"},
		{"then a running server", []seen{program, idle}, "", "idle"},
		{"then a program", []seen{broken, program}, "", "program"},
		{"the one that has the model", []seen{busy, idle, program}, "big", "program"},
		{"by another case and without its tag", []seen{program, idle, busy}, "Small", "busy"},
		{"by its path", []seen{busy, program}, "/models/../models/big", "program"},
		{"none has the model", []seen{program, idle}, "huge", "idle"},
	} {
		got, _, ok := pick(tt.answers, target{model: tt.model})
		if got.spec.Name != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, want %q", tt.name, got.spec.Name, tt.want)
		}
	}
}

// TestFolderFor tells by a folder's config.json what the weights in it are for.
func TestFolderFor(t *testing.T) {
	for config, want := range map[string]string{
		`{"quantization_config":{"quant_method":"exl2","bits":4}}`:                            "exllamav2",
		`{"quantization_config":{"quant_method":"EXL3"}}`:                                     "exllamav3",
		`{"quantization":{"group_size":64,"bits":4},"quantization_config":{"group_size":64}}`: "mlx",
		`{"quantization_config":{"quant_method":"awq"}}`:                                      "vllm mlx",
		`{"model_type":"llama"}`:                                                              "vllm mlx",
		`{`:                                                                                   "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(folderFor(dir), " "); got != want {
			t.Errorf("%s is for %q, want %q", config, got, want)
		}
		if want == "exllamav3" {
			exl := stub("exllamav3", drivers.Found{Backend: "exllamav3", Binary: "/python", Usable: true})
			llama := stub("llamacpp", drivers.Found{Backend: "llamacpp", Binary: "/llama-server", Usable: true, Models: []drivers.Model{{Ref: dir}}})
			if s, _, _ := pick([]seen{llama, exl}, target{model: dir}); s.spec.Name != "exllamav3" {
				t.Errorf("picked %q for EXL3 weights", s.spec.Name)
			}
		}
	}
	if got := folderFor(t.TempDir()); got != nil {
		t.Errorf("an empty folder is for %v", got)
	}
}

// TestLookIsOver shows that drivers that never come back are not waited for.
func TestLookIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{&Process{Env: func(string) string { return "" }, Executable: func() (string, error) { return "x", nil }}}
		over := make(chan struct{})
		defer close(over)
		spec := func(name string, detect func(context.Context, drivers.Config) ([]drivers.Found, error)) drivers.Spec {
			return drivers.Spec{Name: name, Detect: detect}
		}
		began := time.Now()
		answers, err := a.look(t.Context(), []drivers.Spec{
			spec("deaf", func(context.Context, drivers.Config) ([]drivers.Found, error) { <-over; return nil, nil }),
			spec("slow", func(ctx context.Context, _ drivers.Config) ([]drivers.Found, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}),
			spec("quick", func(context.Context, drivers.Config) ([]drivers.Found, error) {
				return []drivers.Found{{Usable: true}}, nil
			}),
			spec("failing", func(context.Context, drivers.Config) ([]drivers.Found, error) { return nil, errors.New("no luck") }),
		}, target{})
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("looking took %v", took)
		}
		if err != nil || !errors.Is(answers[0].err, errLate) || !errors.Is(answers[1].err, errLate) || answers[2].err != nil || len(answers[2].found) != 1 || answers[3].err == nil {
			t.Errorf("%v: %+v", err, answers)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if _, err = a.look(ctx, []drivers.Spec{spec("deaf", func(context.Context, drivers.Config) ([]drivers.Found, error) { <-over; return nil, nil })}, target{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// TestDialectsAreTold lets every driver look at a server of each dialect: the backend of that name claims it, alone.
func TestDialectsAreTold(t *testing.T) {
	reg, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	a := &app{&Process{Env: func(string) string { return "" }, Executable: func() (string, error) { return "x", nil }}}
	p, err := sim.Lookup("fast")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, l := range spokens() {
		spec, is := l.registered(t)
		if !is || spec.Kind != drivers.Local || spec.Fallback {
			continue
		}
		told++
		s := speaking(t, l, sim.Options{Profile: p})
		for _, path := range []string{"", "/v1", "/v1/"} { // as people write it, and as documentation does
			answers, err := a.look(t.Context(), reg.Specs(), target{url: s.URL() + path})
			if err != nil {
				t.Fatal(err)
			}
			var who []string
			for _, f := range foundOf(answers) {
				who = append(who, f.Backend)
				if !f.Simulated {
					t.Errorf("%s: %s does not know that it is a simulator", l.backend, f.Backend)
				}
			}
			if strings.Join(who, " ") != l.backend {
				t.Errorf("a server that answers as %s, given as %q, is claimed by %v", l.backend, path, who)
			}
		}
	}
	if told == 0 {
		t.Error("no backend was tried")
	}
}

// TestPreferencesAreDocumented holds docs/backends.md to the order in which bench prefers.
func TestPreferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range preferences {
		if want := fmt.Sprintf("%d. %s\n", i+1, p.says); !strings.Contains(strings.ReplaceAll(string(page), "\r\n", "\n"), want) {
			t.Errorf("docs/backends.md does not say %q", want)
		}
	}
}

// TestOffered shows a server at a port that is not its backend's own to the driver of that backend, which has to be told where.
func TestOffered(t *testing.T) {
	const there = "http://127.0.0.1:1337"
	own := func(_ context.Context, c drivers.Config) ([]drivers.Found, error) {
		if c.URL != there {
			return nil, nil
		}
		return []drivers.Found{at(there, true)}, nil
	}
	any := func(context.Context, drivers.Config) ([]drivers.Found, error) {
		return []drivers.Found{at(there, true), at("http://127.0.0.1:4891", true)}, nil
	}
	a := &app{&Process{Env: func(string) string { return "" }, Executable: func() (string, error) { return "x", nil }}}
	answers, err := a.look(t.Context(), []drivers.Spec{{Name: "own", Kind: drivers.Local, Detect: own}, {Name: "any", Kind: drivers.Local, Fallback: true, Detect: any}}, target{})
	if err != nil {
		t.Fatal(err)
	}
	if s := answers[0]; len(s.found) != 1 || s.found[0].URL != there || len(s.told) != 1 {
		t.Errorf("own: %+v", s)
	}
	if s := answers[1]; len(s.found) != 1 || s.found[0].URL == there {
		t.Errorf("any: %+v", s)
	}
}

// TestSilentPorts lets whatever is at the usual ports take connections and say nothing: looking is over in its time all the
// same, and no driver is cut off in it.
func TestSilentPorts(t *testing.T) {
	silent := map[string]bool{}
	for _, port := range []string{"8000", "8080", "1234", "5000", "30000", "11434", "9931"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue // something of this machine's own is there
		}
		silent["127.0.0.1:"+port] = true
		defer l.Close()
	}
	if len(silent) == 0 {
		t.Skip("all of the usual ports are taken")
	}
	reg, err := registry()
	if err != nil {
		t.Fatal(err)
	}
	a := &app{&Process{Env: func(string) string { return "" }, Executable: func() (string, error) { return "x", nil }}}
	began := time.Now()
	answers, err := a.look(t.Context(), reg.Specs(), target{})
	if took := time.Since(began); took > detectWithin+3*time.Second {
		t.Errorf("looking took %v", took)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range answers {
		if errors.Is(s.err, errLate) {
			t.Errorf("%s does not come back in its time", s.spec.Name)
		}
		for _, f := range s.found {
			if f.Usable && silent[endpoint(f.URL)] {
				t.Errorf("%s is at %s, where nothing answers", s.spec.Name, f.URL)
			}
		}
	}
}

// TestUnusableAtTheURL: where it is known what is at a URL, and why it can't be used, that is all that is said.
func TestUnusableAtTheURL(t *testing.T) {
	old := stub("old", drivers.Found{URL: "http://h:1", Note: "version 0.9 cuts prompts; update it"})
	text := nothingFound([]seen{stub("other"), old, stub("third")}, target{url: "http://u:p@h:1/v1"}).Error()
	if want := "old at http://h:1/v1 can't be used: version 0.9 cuts prompts; update it"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if text := nothingFound([]seen{stub("other"), old}, target{}).Error(); !strings.Contains(text, "start it with") {
		t.Errorf("without a URL: %q", text)
	}
}
