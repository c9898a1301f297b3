package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/drivers"
)

var updateLists = flag.Bool("update-lists", false, "write the golden files of the lists")

// golden compares text with a file of testdata, or writes it.
func goldenList(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "lists", name)
	if *updateLists {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(want), "\r\n", "\n") != got {
		t.Errorf("%s differs; write it with -update-lists:\n%s", file, got)
	}
}

// TestModelTable shows the list at several widths. No row is wider than the terminal; the line below one may be.
func TestModelTable(t *testing.T) {
	models := []listedModel{
		{"llamacpp", drivers.Model{Ref: "qwen3-8b-q4_k_m", Quant: "Q4_K - Medium", SizeBytes: 5_027_783_488, ContextMax: 40960, Loaded: true, Path: "/home/anna/models/qwen3-8b-q4_k_m.gguf"}},
		{"llamacpp", drivers.Model{Ref: "tiny", Quant: "F16", SizeBytes: 305_888, ContextMax: 1024, Path: "/srv/models/tiny.gguf"}},
		{"ollama", drivers.Model{Ref: "hf.co/unsloth/Llama-3.3-70B-Instruct-GGUF-with-a-long-name:UD-Q4_K_XL", Quant: "Q4_K_XL", SizeBytes: 42_520_398_720, ContextMax: 131072}},
		{"vllm", drivers.Model{Ref: "東京/模型", Loaded: true}},
	}
	for _, width := range []int{0, 100, 60, 44} {
		var out bytes.Buffer
		a := &app{&Process{Stdout: &out, OutTTY: true, Env: func(string) string { return "" }, Width: func() int { return width }, Home: func() string { return "/home/anna" }}}
		a.modelTable(models).write(a)
		goldenList(t, fmt.Sprintf("models_%d.txt", width), out.String())
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && n > width && !strings.HasPrefix(line, "    ") {
				t.Errorf("a line of %d at a width of %d: %s", n, width, line)
			}
		}
	}
}

// TestDetectPage shows what is here, what is not and why, and which services have a key.
func TestDetectPage(t *testing.T) {
	service := func(name string, found ...drivers.Found) seen {
		return seen{spec: drivers.Spec{Name: name, Kind: drivers.Hosted, Looked: "the environment variable " + strings.ToUpper(name) + "_API_KEY"}, found: found}
	}
	late := stub("late")
	late.err = errLate
	answers := []seen{
		stub("llama", drivers.Found{Binary: "/home/anna/bin/llama-server", Version: "0.7.0", Build: "built with GNU 16.2.0", Usable: true, Models: []drivers.Model{{Ref: "m"}}}, at("http://127.0.0.1:8080", false)),
		stub("missing"), late, service("paid", drivers.Found{URL: "https://api.paid.com", Usable: true}), service("unpaid"),
		{spec: drivers.Spec{Name: "sim", Kind: drivers.Simulated}},
	}
	answers[0].found[1].Note = "needs a key: --api-key"
	var out bytes.Buffer
	a := &app{&Process{Stdout: &out, Env: func(string) string { return "" }, Home: func() string { return "/home/anna" }}}
	a.detectPage(answers, target{})
	fmt.Fprintln(&out, "=== nothing")
	a.detectPage([]seen{stub("missing")}, target{url: "http://u:p@h:1"})
	goldenList(t, "detect.txt", out.String())
}

func TestMiddle(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
		want string
	}{{"short", 5, "short"}, {"abcdefghij", 7, "abcd…ij"}, {"東京模型試験場", 4, "東京…場"}} {
		if got := middle(tt.text, tt.most); got != tt.want || utf8.RuneCountInString(got) > tt.most {
			t.Errorf("middle(%q, %d) = %q, want %q", tt.text, tt.most, got, tt.want)
		}
	}
}
