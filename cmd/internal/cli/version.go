package cli

import (
	"cmp"
	"encoding/json"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/record"
)

// release is set by the linker: -ldflags "-X github.com/llm-speed/llm-speed/cmd/internal/cli.release=v1.2.3".
var release string

// client describes this program, without its digest.
func (a *app) client() record.Client {
	c := record.Client{Version: release, OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := a.Build()
	if !ok {
		c.Version = cmp.Or(c.Version, "devel")
		return c
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		c.Version = cmp.Or(c.Version, v)
	}
	c.Version = cmp.Or(c.Version, "devel")
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			c.Commit = s.Value + c.Commit
		case s.Key == "vcs.modified" && s.Value == "true":
			c.Commit += "+changes"
		}
	}
	return c
}

func (a *app) version() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: between(0, 0),
		Example: "  llm-speed version\n  llm-speed version --json",
		RunE: func(*cobra.Command, []string) error {
			c := a.client()
			if asJSON {
				return a.writeJSON(c)
			}
			a.outf("llm-speed %s %s/%s %s\n", c.Version, c.OS, c.Arch, runtime.Version())
			if c.Commit != "" {
				a.outf("commit %s\n", c.Commit)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// writeJSON writes v to stdout, indented.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
