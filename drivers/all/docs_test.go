package all

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
)

var update = flag.Bool("update", false, "write docs/backends.md")

// abilities are the columns of the table, with what they mean.
var abilities = []struct {
	name, means string
	of          func(drivers.Able) drivers.Ability
}{
	{"exact length", "the output's length can be forced", func(a drivers.Able) drivers.Ability { return a.ExactLength }},
	{"token ids", "prompts are sent as token ids", func(a drivers.Able) drivers.Ability { return a.TokenPrompts }},
	{"tokenizer", "the length of a prompt is known before it is sent", func(a drivers.Able) drivers.Ability { return a.Tokenizer }},
	{"cached", "the server says how many prompt tokens came from its cache", func(a drivers.Able) drivers.Ability { return a.Cached }},
	{"cold", "a request can ask for a prompt to be worked on as a whole; otherwise a prompt is cold because it is new", func(a drivers.Able) drivers.Ability { return a.Cold }},
	{"per event", "the server says how many tokens each event holds", func(a drivers.Able) drivers.Ability { return a.PerEvent }},
	{"timing", "the server states its own times, which are shown beside the client's and never mixed with them", func(a drivers.Able) drivers.Ability { return a.Timing }},
	{"cache counters", "cumulative counters of the prefix cache can be read", func(a drivers.Able) drivers.Ability { return a.CacheStats }},
	{"activity", "requests of other clients can be seen", func(a drivers.Able) drivers.Ability { return a.Activity }},
	{"starts", "llm-speed starts one where none runs", func(a drivers.Able) drivers.Ability { return a.Starts }},
}

func word(a drivers.Ability) string {
	return [...]string{"?", "yes", "no", "partly"}[a.Is]
}

// cell makes text fit into a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func live(l drivers.Live) string {
	if l.Date == "" {
		return "never"
	}
	return l.Date
}

// page is docs/backends.md.
func page(t *testing.T, specs []drivers.Spec) string {
	var b strings.Builder
	b.WriteString("# Backends\n\n" +
		"What llm-speed can measure, and what each backend lets it fix, count and prove. This page is written from the drivers' own declarations\n" +
		"(`go test ./drivers/all -update`); the conformance suite (`drivers/drivertest`) holds these to what is seen of each.\n\n" +
		"`llm-speed detect` shows which of them are here, `llm-speed list-models` what they offer. A backend that is missing is no error: it is skipped.\n\n" +
		"## Which one `bench` uses\n\n" +
		"With `--backend` the one that is named. With `--url` the one that the server at the URL turns out to be, by its answers: ports are shared (8000 by vLLM,\n" +
		"TensorRT-LLM and others, 8080 by llama.cpp, mlx_lm.server and others), so a port alone says nothing. A server that speaks OpenAI's protocol and is none of\n" +
		"those known is `openai-compatible`. Without either, what is here is looked for, for two seconds at most: a server is claimed by one backend only, also one that\n" +
		"listens at another backend's port. Used is, in this order:\n\n" +
		"1. a backend that offers the model that --model names\n2. a running server that has a model loaded\n3. any other running server\n4. a program that can be started\n\n" +
		"Among equals the order is that of the table. Services that cost money are never contacted, and the simulator is never used, unless they are named.\n\n" +
		"## What each can do\n\n")
	for _, a := range abilities {
		fmt.Fprintf(&b, "- **%s**: %s\n", a.name, a.means)
	}
	b.WriteString("- **live**: when a real server of it was last measured; how, stands below\n\n| backend |")
	for _, a := range abilities {
		fmt.Fprintf(&b, " %s |", a.name)
	}
	b.WriteString(" live |\n|---|" + strings.Repeat("---|", len(abilities)+1) + "\n")
	for _, s := range specs {
		fmt.Fprintf(&b, "| [%s](#%s) |", s.Name, s.Name)
		for _, a := range abilities {
			ability := a.of(s.Able)
			if ability.Is == drivers.NotStated {
				t.Errorf("%s does not state %q in Spec.Able", s.Name, a.name)
			}
			fmt.Fprintf(&b, " %s |", word(ability))
		}
		fmt.Fprintf(&b, " %s |\n", live(s.Live))
	}
	for _, s := range specs {
		section(&b, s)
	}
	return b.String()
}

func section(b *strings.Builder, s drivers.Spec) {
	fmt.Fprintf(b, "\n## %s\n\n**%s.** %s\n\n- looked for: %s\n- start one: `%s`\n", s.Name, s.Title, s.Doc, s.Looked, s.Start)
	for _, a := range abilities {
		if how := a.of(s.Able); how.How != "" {
			fmt.Fprintf(b, "- %s: %s, %s\n", a.name, word(how), how.How)
		}
	}
	if s.Live.Date == "" {
		b.WriteString("- last measured live: never; it is tested against written answers and the simulator\n")
	} else {
		fmt.Fprintf(b, "- last measured live: %s, version %s, %s\n", s.Live.Date, s.Live.Version, s.Live.How)
	}
	if len(s.Options) > 0 {
		b.WriteString("\n| `--opt` | environment | default | |\n|---|---|---|---|\n")
		for _, o := range s.Options {
			def := o.Default
			if def != "" {
				def = "`" + def + "`"
			}
			env := o.Env
			if env != "" {
				env = "`" + env + "`"
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", o.Name, env, cell(def), cell(o.Help))
		}
	}
	if len(s.Limits) > 0 {
		b.WriteString("\nKnown limits:\n\n")
		for _, l := range s.Limits {
			fmt.Fprintf(b, "- %s\n", l)
		}
	}
}

// TestPage holds docs/backends.md to the registry.
func TestPage(t *testing.T) {
	reg, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/backends.md"
	want := page(t, reg.Specs())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
		t.Error("docs/backends.md is not what the drivers declare; write it with -update")
	}
}

// TestSpecs holds every spec to what detect, help and documents need of it.
func TestSpecs(t *testing.T) {
	reg, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range reg.Specs() {
		if s.Title == "" || s.Doc == "" || s.Looked == "" || s.Start == "" || s.Detect == nil || s.Open == nil || !strings.HasSuffix(s.Doc, ".") || strings.ContainsAny(s.Start, "\n`") {
			t.Errorf("%s: %+v", s.Name, s)
		}
		for _, l := range s.Limits {
			if !strings.HasSuffix(l, ".") {
				t.Errorf("%s: a limit is a sentence: %q", s.Name, l)
			}
		}
		for _, o := range s.Options {
			if o.Name == "" || o.Help == "" || strings.Contains(o.Help, "\n") {
				t.Errorf("%s: option %+v", s.Name, o)
			}
		}
	}
}
