package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/report"
)

func (a *app) detect() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use: "detect", Short: "Show which backends are here", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			answers, err := a.lookAll(cmd.Context(), t)
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(foundOf(answers))
			}
			for _, s := range answers {
				a.outf("%s (%s)\n", s.spec.Title, s.spec.Name)
				if s.err != nil {
					a.outf("  looking failed: %v\n", s.err)
				}
				for _, f := range s.found {
					state := "usable"
					if !f.Usable {
						state = "not usable"
					}
					a.outf("  %s\n", strings.Join(nonEmpty(foundAt(f), f.Version, state, f.Note, report.Count(len(f.Models), "model")), "  "))
				}
				if len(s.found) == 0 {
					a.outf("  not found; searched: %s\n  start it with: %s\n", searched(s.spec, t), s.spec.Start)
				}
			}
			return nil
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) listModels() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list-models", Short: "List the models that the backends offer", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			answers, err := a.lookAll(cmd.Context(), t)
			if err != nil {
				return err
			}
			type model struct {
				Backend string `json:"backend"`
				drivers.Model
			}
			models := []model{}
			for _, f := range foundOf(answers) {
				for _, m := range f.Models {
					models = append(models, model{f.Backend, m})
				}
			}
			if asJSON {
				return a.writeJSON(models)
			}
			if len(models) == 0 {
				a.warn("no models found; llm-speed detect shows what was looked at")
			}
			for _, m := range models {
				size, context := "", ""
				if m.SizeBytes > 0 {
					size = fmt.Sprintf("%.1f GB", float64(m.SizeBytes)/1e9)
				}
				if m.ContextMax > 0 {
					context = fmt.Sprintf("context %d", m.ContextMax)
				}
				a.outf("%-18s %s\n", m.Backend, strings.Join(nonEmpty(m.Ref, m.Quant, size, context), "  "))
			}
			return nil
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
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
	answers, err := a.look(ctx, specs, t)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the answers say which of them did not come
	}
	return answers, err
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
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}
