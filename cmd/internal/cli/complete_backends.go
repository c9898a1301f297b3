package cli

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/manifest"
	"github.com/llm-speed/llm-speed/suites"
)

// tabBackends offers the backends.
func (a *app) tabBackends(typed) offer {
	reg, err := registry()
	if err != nil {
		return offer{}
	}
	var o offer
	for _, s := range reg.Specs() {
		text := s.Title
		if s.Kind == drivers.Hosted {
			text += ", costs money"
		}
		o.values = append(o.values, described(s.Name, text))
	}
	return o
}

// flagValue is what a flag of the line was given, or its default.
func (t typed) flagValue(name string) string {
	if f := t.cmd.Flags().Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// tabModels offers the models of what runs or lies on this machine, as far as they are found in the time of a TAB. A file will
// do too. Services are not asked, nor is any other machine.
func (a *app) tabModels(t typed) offer {
	o := offer{files: true}
	reg, err := registry()
	if err != nil {
		return o
	}
	to := target{backend: t.flagValue("backend"), url: t.flagValue("url"), llamaPath: t.flagValue("llama-cpp-path")}
	if to.url != "" && !onThisMachine(to.url) {
		return o
	}
	specs := slices.DeleteFunc(slices.Clone(reg.Specs()), func(s drivers.Spec) bool {
		return s.Kind == drivers.Hosted || s.Kind == drivers.Simulated && to.backend == "" || to.backend != "" && s.Name != to.backend
	})
	answers, _ := a.look(t.ctx, specs, to) // what was found in time is in the answers
	for _, f := range foundOf(answers) {
		for _, m := range f.Models {
			text := strings.Join(nonEmpty(f.Backend, m.Quant, gigabytes(m.SizeBytes)), " · ")
			if m.Loaded {
				text += " · loaded"
			}
			v := described(m.Ref, text)
			if !slices.ContainsFunc(o.values, func(x cobra.Completion) bool { return sameValue(x, v) }) {
				o.values = append(o.values, v)
			}
		}
	}
	return o
}

// onThisMachine reports whether a URL is of a loopback address.
func onThisMachine(text string) bool {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// tabOptions offers the options of the backend of --backend, or of all; for the simulator's own their values too.
func (a *app) tabOptions(t typed) offer {
	reg, err := registry()
	if err != nil {
		return offer{}
	}
	name, _, valued := strings.Cut(t.word, "=")
	o := offer{open: !valued}
	for _, s := range reg.Specs() {
		if backend := t.flagValue("backend"); backend != "" && s.Name != backend {
			continue
		}
		for _, opt := range s.Options {
			switch {
			case !valued:
				if v := described(opt.Name+"=", opt.Help); !slices.ContainsFunc(o.values, func(x cobra.Completion) bool { return sameValue(x, v) }) {
					o.values = append(o.values, v)
				}
			case opt.Name == name && s.Kind == drivers.Simulated && name == "profile":
				for _, v := range profileValues() {
					o.values = append(o.values, name+"="+v)
				}
			case opt.Name == name && s.Kind == drivers.Simulated && name == "traps":
				inner := t
				inner.word = strings.TrimPrefix(t.word, "traps=")
				for _, v := range listOf(tabTraps)(inner).values {
					o.values = append(o.values, "traps="+v)
				}
				o.open = true
			}
		}
	}
	return o
}

func profileValues() []cobra.Completion {
	var values []cobra.Completion
	for _, p := range sim.Profiles() {
		values = append(values, described(p.Name, p.Title))
	}
	return values
}

func tabDialects(typed) offer {
	var o offer
	for _, d := range sim.Dialects() {
		o.values = append(o.values, described(d.Name, d.Title))
	}
	return o
}

// tabTraps offers the simulator's traps, with an equals sign where they take a value.
func tabTraps(typed) offer {
	var o offer
	for _, d := range sim.TrapDocs() {
		name, _, value := strings.Cut(d.Form, "=")
		name = strings.TrimSuffix(name, "[")
		if value && !strings.Contains(d.Form, "[") {
			name += "="
		}
		o.values = append(o.values, described(name, d.Help))
	}
	return o
}

// tabSuites offers the suites that are here; the folder of one will do too.
func (a *app) tabSuites(typed) offer {
	o := offer{dirs: true}
	for _, name := range suites.Names() {
		o.values = append(o.values, described(name, "built in"))
	}
	o.values = append(o.values, a.tabInstalled(typed{}).values...)
	return o
}

// tabInstalled offers the suites that updates have brought.
func (a *app) tabInstalled(typed) offer {
	var o offer
	dir, err := a.suitesDir()
	if err != nil {
		return o
	}
	installed, _ := manifest.Suites(dir) // a state that can't be read offers none
	for i := range installed {
		text := "installed, channel " + installed[i].Channel
		if installed[i].Status == manifest.Revoked {
			text = "revoked"
		}
		o.values = append(o.values, described(installed[i].Key(), text))
	}
	return o
}

// tabRowsOfSuite offers the workloads and rows of the suite that stands on the line.
func (a *app) tabRowsOfSuite(t typed) offer {
	name := orElse(t.flagValue("suite"), defaultSuite)
	if len(t.args) > 0 { // suite test NAME|DIR
		name = t.args[0]
	}
	quick := t.flagValue("quick") == "true"
	values, _ := soon(t.ctx, func() []cobra.Completion {
		quiet := *a.Process
		quiet.Stderr = t.cmd.ErrOrStderr()
		s, _, err := (&app{&quiet}).loadSuite(t.ctx, name, a.sandbox())
		if err != nil {
			return nil
		}
		return rowValues(s, quick)
	})
	return offer{values: values}
}

// rowValues are a suite's workloads, and their rows where a workload has several.
func rowValues(s *suite.Suite, quick bool) []cobra.Completion {
	rows, err := engine.PlanRows(s, nil, quick)
	if err != nil {
		return nil
	}
	var values []cobra.Completion
	seen := map[string]int{}
	for _, r := range rows {
		seen[r.ID]++
	}
	for i, r := range rows {
		if i == 0 || rows[i-1].ID != r.ID {
			values = append(values, described(r.ID, r.Name))
		}
		if seen[r.ID] > 1 {
			short := shortRow(r.Key, func(short string) bool {
				same, err := engine.PlanRows(s, []string{short}, quick)
				return err == nil && len(same) == 1 && same[0].Key == r.Key
			})
			_, point, _ := strings.Cut(r.Key, "/")
			values = append(values, described(short, r.Name+", "+point))
		}
	}
	return values
}
