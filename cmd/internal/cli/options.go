package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

// notKept is the beginning of the reason's name for an option whose value the result does not keep.
const notKept = "backend.options."

// keepOptions writes down how the driver was set, for --resume: only values that can hold neither a key nor a path. Of the
// others it is said that they were set.
func keepOptions(r *record.Result, spec drivers.Spec, options map[string]string) {
	r.Backend.Options = nil
	for _, o := range spec.Options {
		value, set := options[o.Name]
		switch {
		case !set || o.Secret || o.Env == llamaPathEnv:
		case !plainValue(value):
			if r.Reasons == nil {
				r.Reasons = record.Reasons{}
			}
			r.Reasons[notKept+o.Name] = "was set; not kept, since free text may hold keys and paths"
		default:
			if r.Backend.Options == nil {
				r.Backend.Options = map[string]string{}
			}
			r.Backend.Options[o.Name] = value
		}
	}
}

// plainValue reports whether a value is a plain word, number or list that can't be a command line, a path or a key.
func plainValue(value string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._=,@"
	low := strings.ToLower(value)
	for _, secret := range []string{"api-key", "api_key", "apikey", "secret", "password", "sk-"} {
		if strings.Contains(low, secret) {
			return false
		}
	}
	return len(value) <= 200 && strings.Trim(value, allowed) == "" && !strings.HasPrefix(value, "-") && !strings.Contains(value, "--")
}

// takeOptions takes the options of a run that goes on, where the command line says nothing else. Those that the result did
// not keep have to be given again: without them other things would be measured.
func (a *app) takeOptions(f *benchFlags, r *record.Result) error {
	given := map[string]bool{}
	for _, o := range f.options {
		name, _, _ := strings.Cut(o, "=")
		given[name] = true
	}
	var missing []string
	for _, name := range lost(r) {
		if !given[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		hint := "llm-speed bench --resume " + r.RunID + optArguments(missing)
		return fail(exitUsage, hint, fmt.Errorf("run %s was made with --opt %s, whose value results do not keep: give it again", r.RunID, strings.Join(missing, " and --opt ")))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Backend.Options)) {
		if !given[name] {
			f.options = append(f.options, name+"="+r.Backend.Options[name])
		}
	}
	return nil
}

// lost names the options that were set and not kept.
func lost(r *record.Result) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.Reasons)) {
		if option, ok := strings.CutPrefix(name, notKept); ok {
			names = append(names, option)
		}
	}
	return names
}

// optArguments are the arguments that give options again, with a placeholder for the value.
func optArguments(names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(" --opt " + name + "=VALUE")
	}
	return b.String()
}
