package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/drivers"
)

func (a *app) listModels() *cobra.Command {
	var t target
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list-models", Short: "List the models that the backends offer",
		Long: `List the models that the backends on this machine offer, as --model takes them. A hosted service is asked for its models where
--backend names it.`,
		Example: "  llm-speed list-models\n  llm-speed list-models --backend ollama\n  llm-speed list-models --url http://127.0.0.1:8000 --json",
		Args:    between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			answers, err := a.lookForModels(cmd.Context(), t)
			if err != nil {
				return err
			}
			models := []listedModel{}
			for _, f := range foundOf(answers) {
				for _, m := range f.Models {
					models = append(models, listedModel{f.Backend, m})
				}
				if !f.Usable && !asJSON {
					a.warn("%s at %s can't be used: %s", f.Backend, a.homeless(foundAt(f)), orElse(f.Note, "it does not say why"))
				}
			}
			if asJSON {
				return a.writeJSON(models)
			}
			if len(models) == 0 {
				if t.backend != "" && len(answers[0].found) == 0 {
					a.warn("%s is not detected: %s", t.backend, whyNot(answers[0], t))
				}
				a.warn("no models found; llm-speed detect shows what was looked at")
				return nil
			}
			a.modelTable(models).write(a)
			return nil
		},
	}
	t.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// listedModel is a model with the backend that offers it.
type listedModel struct {
	Backend string `json:"backend"`
	drivers.Model
}

// lookForModels is lookAll, but for a service that was named: that is asked at its own address.
func (a *app) lookForModels(ctx context.Context, t target) ([]seen, error) {
	answers, err := a.lookAll(ctx, t)
	if err != nil || t.backend == "" || t.url != "" || len(answers) != 1 || answers[0].spec.Kind != drivers.Hosted || len(answers[0].found) == 0 {
		return answers, err
	}
	t.url = answers[0].found[0].URL
	return a.lookAll(ctx, t)
}

// modelTable puts models into a table that fits the terminal.
func (a *app) modelTable(models []listedModel) grid {
	g := grid{heads: []string{"BACKEND", "MODEL", "QUANT", "SIZE", "CONTEXT", "LOADED", "PATH"},
		right: map[int]bool{3: true, 4: true}, give: []int{6, 4, 2}, named: map[int]string{4: "context "}, cut: 1, width: a.style().Width}
	for _, m := range models {
		context, loaded := "", ""
		if m.ContextMax > 0 {
			context = grouped(m.ContextMax)
		}
		if m.Loaded {
			loaded = "yes"
		}
		g.rows = append(g.rows, []string{m.Backend, m.Ref, m.Quant, gigabytes(m.SizeBytes), context, loaded, a.homeless(m.Path)})
	}
	return g
}

// gigabytes is a size for people; empty where it is not known.
func gigabytes(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n < 50e6:
		return "<0.1 GB"
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
