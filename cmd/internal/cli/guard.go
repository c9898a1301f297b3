package cli

import (
	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/proc"
)

// guardName is the hidden command that runs a server and ends it when this process dies.
const guardName = "internal-guard"

func (a *app) guard() *cobra.Command {
	return &cobra.Command{
		Use: guardName, Hidden: true, DisableFlagParsing: true, Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := proc.Guard(a.Stdin, args); code != 0 {
				return fail(code, "", errSilent)
			}
			return nil
		},
	}
}

// guardCommand starts the guard; nil where this program's own path can't be told, and servers then run without one.
func (a *app) guardCommand() []string {
	path, err := a.Executable()
	if err != nil {
		return nil
	}
	return []string{path, guardName}
}
