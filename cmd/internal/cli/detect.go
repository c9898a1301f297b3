package cli

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/report"
)

func (a *app) detect() *cobra.Command {
	var t target
	var f detectFlags
	cmd := &cobra.Command{
		Use: "detect", Short: "Show this machine, and which backends are here",
		Long: `Show this machine, and which backends are here: running servers, and programs that bench can start. All are looked for at
once, for at most two seconds. Nothing is started, nothing generates, and services that cost money are not contacted.`,
		Example: `  llm-speed detect

  # which backend is it?
  llm-speed detect --url http://127.0.0.1:8000

  # what a bug report needs, redacted
  llm-speed detect --bundle report.zip`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDetect(cmd.Context(), t, f) },
	}
	t.flags(cmd.Flags())
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&f.redact, "redact", true, "leave out names, home folders, serial numbers and addresses; --redact=false shows all (a bundle never does)")
	cmd.Flags().StringVar(&f.bundle, "bundle", "", "write what a bug report needs to `FILE`, a .zip or .tar.gz")
	return cmd
}

type detectFlags struct {
	json, redact bool
	bundle       string
}

// detectDoc is the JSON of detect.
type detectDoc struct {
	Machine  machineSeen `json:"machine"`
	Backends []detected  `json:"backends"`
}

func (a *app) runDetect(ctx context.Context, t target, f detectFlags) error {
	var m machineSeen
	var merr error
	looked := make(chan struct{})
	one := t.backend != "" || t.url != "" // the page is about a backend then, not about the machine
	go func() {
		defer close(looked)
		if !one || f.json || f.bundle != "" {
			m, merr = a.seeMachine(ctx)
		}
	}()
	answers, err := a.lookAll(ctx, t)
	if err != nil {
		return err
	}
	<-looked
	if merr != nil {
		return merr
	}
	doc := detectDoc{m, detectedOf(answers, t)}
	if f.bundle != "" {
		return a.bundle(f.bundle, m, doc)
	}
	var page bytes.Buffer
	p := *a.Process
	p.Stdout = &page
	to := &app{&p}
	switch {
	case f.json:
		err = to.writeJSON(doc)
	default:
		if !one {
			err = to.machinePage(m)
			to.outf("\n")
		}
		to.detectPage(answers, t)
	}
	text := page.String()
	if f.redact {
		text = a.redaction().text(text)
	}
	a.outf("%s", text)
	return err
}

// detected is a backend in the JSON of detect.
type detected struct {
	Name     string          `json:"name"`
	Title    string          `json:"title"`
	Kind     drivers.Kind    `json:"kind"`
	Detected bool            `json:"detected"`
	Why      string          `json:"why,omitempty"` // why it was not detected
	Start    string          `json:"start"`         // how to start one
	Found    []drivers.Found `json:"found"`
}

func detectedOf(answers []seen, t target) []detected {
	out := []detected{}
	for _, s := range answers {
		d := detected{Name: s.spec.Name, Title: s.spec.Title, Kind: s.spec.Kind, Start: s.spec.Start, Found: foundOf([]seen{s})}
		d.Detected = len(d.Found) > 0
		if !d.Detected {
			d.Why = whyNot(s, t)
		}
		out = append(out, d)
	}
	return out
}

// whyNot says why a backend was not detected.
func whyNot(s seen, t target) string {
	switch {
	case s.err != nil:
		return "looking failed: " + s.err.Error()
	case s.spec.Kind == drivers.Hosted && t.url == "":
		return "no key in " + s.spec.Looked
	}
	return "searched " + searched(s.spec, t)
}

// detectPage shows what was found, then what was not, then the services that cost money.
func (a *app) detectPage(answers []seen, t target) {
	paid := func(s seen) bool { return s.spec.Kind == drivers.Hosted && t.url == "" }
	wide := 0
	for _, s := range answers {
		wide = max(wide, len(s.spec.Name))
	}
	none := true
	for _, s := range answers {
		if len(s.found) == 0 || paid(s) {
			continue
		}
		none = false
		a.outf("%s (%s)\n", s.spec.Title, s.spec.Name)
		for _, f := range s.found {
			state := "usable"
			if !f.Usable {
				state = "not usable"
			}
			if f.Simulated {
				state += ", simulated"
			}
			for _, part := range a.fold(strings.Join(nonEmpty(a.homeless(foundAt(f)), f.Version, f.Build, state, f.Note, report.Count(len(f.Models), "model")), "  "), 2) {
				a.outf("  %s\n", part)
			}
		}
	}
	if none {
		a.outf("no backend detected\n")
	}
	heading := func(text string, group []seen, lines func(seen) []string) {
		if len(group) == 0 {
			return
		}
		a.outf("\n")
		if text != "" {
			a.outf("%s\n", text)
		}
		for _, s := range group {
			name := s.spec.Name
			for _, l := range lines(s) {
				for _, part := range a.fold(l, wide+4) {
					a.outf("  %-*s  %s\n", wide, name, part)
					name = ""
				}
			}
		}
	}
	var missing, services []seen
	for _, s := range answers {
		switch {
		case s.spec.Kind == drivers.Simulated:
		case paid(s):
			services = append(services, s)
		case len(s.found) == 0:
			missing = append(missing, s)
		}
	}
	if t.url != "" && !none { // one server is meant, and it has been found out what it is
		return
	}
	heading("", missing, func(s seen) []string {
		return []string{"not detected; skip: " + whyNot(s, t), "start it with: " + s.spec.Start}
	})
	heading("services that cost money, not contacted, used with --backend NAME only:", services, func(s seen) []string {
		if len(s.found) > 0 {
			return []string{"key set"}
		}
		return []string{whyNot(s, t)}
	})
}

// homeless shortens the user's home in a path to ~.
func (a *app) homeless(path string) string {
	if a.Home == nil {
		return path
	}
	home := a.Home()
	if rest, ok := strings.CutPrefix(path, home); ok && len(home) > 1 && (rest == "" || strings.ContainsAny(rest[:1], `/\`)) {
		return "~" + rest
	}
	return path
}

// lookAll asks the backend that is named, or all.
func (a *app) lookAll(ctx context.Context, t target) ([]seen, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	reg, err := registry()
	if err != nil {
		return nil, err
	}
	specs := reg.Specs()
	if t.backend != "" {
		spec, err := reg.Lookup(t.backend)
		if err != nil {
			return nil, usagef("%w", err)
		}
		options, err := t.optionsOf(spec, true)
		if err != nil {
			return nil, err
		}
		if err := a.checkSim(spec, options); err != nil {
			return nil, err
		}
		specs = []drivers.Spec{spec}
	}
	a.warnKey(t)
	ctx, stop := a.interruptible(ctx, func() {})
	defer stop()
	return a.look(ctx, specs, t)
}

// foundOf joins what was found, in the order of the drivers.
func foundOf(answers []seen) []drivers.Found {
	found := []drivers.Found{}
	for _, s := range answers {
		for _, f := range s.found {
			f.Backend = cmp.Or(f.Backend, s.spec.Name)
			if f.Models == nil {
				f.Models = []drivers.Model{}
			}
			found = append(found, f)
		}
	}
	return found
}

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(p string) bool { return p == "" })
}
