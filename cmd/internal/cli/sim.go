package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/sim"
)

func (a *app) sim() *cobra.Command {
	var listen, profile, dialect, traps, log string
	cmd := &cobra.Command{
		Use: "sim", Short: "Serve the simulator: a server with a known timetable",
		Long: "Serve the simulator until interrupted: an HTTP server that answers as llama-server and OpenAI-compatible servers do,\nwith made-up text on a timetable that is known to the token.\n\nProfiles:\n" + profileHelp() + "\nDialects:\n" + dialectHelp() + "\nTraps, joined with commas:\n" + trapHelp(),
		Example: `  # a server for tests, 20 times as quick as the GPU that it plays
  llm-speed sim --listen 127.0.0.1:8080 --profile fast

  # one that answers as vLLM does, and misbehaves
  llm-speed sim --dialect vllm --traps coalesce=4,no-usage`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := sim.Lookup(profile)
			if err != nil {
				return usagef("%w", err)
			}
			t, err := sim.ParseTraps(traps)
			if err != nil {
				return usagef("--traps: %w", err)
			}
			var to io.Writer
			if log != "" {
				f, err := createFile(log)
				if err != nil {
					return fail(exitUsage, "", fmt.Errorf("--log can't be written: %w", err))
				}
				defer f.Close()
				to = f
			}
			if err := sim.KnowsDialect(dialect); err != nil {
				return usagef("--dialect: %w", err)
			}
			ctx, stop := a.interruptible(cmd.Context(), func() {})
			defer stop()
			server, err := sim.Start(ctx, sim.Options{Addr: listen, Profile: p, Dialect: dialect, Traps: t, Log: to})
			if err != nil {
				return err
			}
			a.outf("listening on %s\n", server.URL())
			<-ctx.Done()
			return server.Close()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "`ADDRESS` and port; port 0 takes a free one")
	cmd.Flags().StringVar(&profile, "profile", "", "`PROFILE`, the timetable (default: the first one)")
	cmd.Flags().StringVar(&dialect, "dialect", sim.Own, "answer as the server `DIALECT`")
	cmd.Flags().StringVar(&traps, "traps", "", "misbehaviour, `TRAP,...`")
	cmd.Flags().StringVar(&log, "log", "", "write what was really sent and when to `FILE`, one JSON object a line")
	return cmd
}

func profileHelp() string {
	var b strings.Builder
	for _, p := range sim.Profiles() {
		fmt.Fprintf(&b, "  %-28s %s\n", p.Name, p.Title)
	}
	return b.String()
}

func dialectHelp() string {
	var b strings.Builder
	for _, d := range sim.Dialects() {
		note := ""
		if d.Base != "" {
			note = "; its base path is " + d.Base
		}
		if d.Key {
			note += "; asks for a key, any will do"
		}
		fmt.Fprintf(&b, "  %-28s %s%s\n", d.Name, d.Title, note)
	}
	return b.String()
}

func trapHelp() string {
	var b strings.Builder
	for _, t := range sim.TrapDocs() {
		fmt.Fprintf(&b, "  %-28s %s\n", t.Form, t.Help)
	}
	return b.String()
}
