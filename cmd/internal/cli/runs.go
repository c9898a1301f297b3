package cli

import (
	"cmp"
	"errors"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/store"
)

// store opens the folder where runs are kept.
func (a *app) store() (*store.Store, error) {
	dir, err := store.DefaultDir(a.Env, runtime.GOOS, a.Home())
	if err != nil {
		return nil, err
	}
	return store.Open(dir)
}

// load reads a saved run by id, path, or as "last".
func (a *app) load(name string) (*store.Saved, error) {
	st, err := a.store()
	if err != nil {
		return nil, err
	}
	saved, err := st.Load(name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail(exitUsage, "llm-speed runs", err)
	}
	return saved, err
}

func (a *app) runs() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "runs", Short: "List the saved runs, the newest first", Args: between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			st, err := a.store()
			if err != nil {
				return err
			}
			entries, err := st.List()
			if err != nil {
				return err
			}
			type line struct {
				RunID   string       `json:"run_id"`
				Started string       `json:"started_at"`
				State   record.State `json:"state"`
				Mode    string       `json:"mode"`
				Suite   string       `json:"suite"`
				Backend string       `json:"backend"`
				Model   string       `json:"model"`
				OK      int          `json:"ok"`
				Skipped int          `json:"skipped"`
				Failed  int          `json:"failed"`
			}
			lines := []line{}
			for _, e := range entries {
				if e.Err != nil {
					a.warn("%v", e.Err)
					continue
				}
				r := e.Result
				l := line{RunID: r.RunID, Started: r.StartedAt.UTC().Format("2006-01-02 15:04"), State: r.State, Mode: r.Mode, Suite: r.Suite.Name, Backend: r.Backend.Name, Model: cmp.Or(r.Model.Name, r.Model.Ref)}
				l.OK, l.Skipped, l.Failed = report.Tally(r)
				lines = append(lines, l)
			}
			if asJSON {
				return a.writeJSON(lines)
			}
			if len(lines) == 0 {
				a.warn("no run has been saved yet")
			}
			for _, l := range lines {
				a.outf("%s  %s  %-8s %-5s %s  %s  %s  %d ok, %d skipped, %d failed\n", l.RunID, l.Started, l.State, l.Mode, l.Suite, l.Backend, orElse(l.Model, "-"), l.OK, l.Skipped, l.Failed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
