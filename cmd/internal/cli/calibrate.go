package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/agree"
	"github.com/llm-speed/llm-speed/internal/calibrate"
	"github.com/llm-speed/llm-speed/internal/report"
)

func (a *app) calibrate() *cobra.Command {
	var asJSON, againstServer bool
	var streams int
	var against againstFlags
	cmd := &cobra.Command{
		Use: "calibrate", Short: "Measure this program's own error on this machine, now", Args: between(0, 0),
		Long: `Measure this program's own error on this machine, now: it reads streams of its own simulator, whose true times are
known. bench does the same before every run and keeps the receipt in the result.

With --against-server it is held against a real server's own figures instead: cold prompts and a conversation are run,
and decode and prefill rates, prompt, cached and output tokens are compared with what the server states. A rate over its
limit (decode 2 %, prefill 5 %) or a count that is not equal is exit 1. Where a llama-bench lies beside the llama-server,
its figures are shown too; they leave out what a client waits for and are held against nothing.`,
		Example: `  llm-speed calibrate
  llm-speed calibrate --against-server
  llm-speed calibrate --against-server --model ~/models/qwen3-8b-q4_k_m.gguf
  llm-speed calibrate --against-server --backend openai-compatible --url http://localhost:8000/v1 --json
  llm-speed calibrate --against-server --backend sim --prompts 512,2048 --repeats 1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if againstServer {
				if cmd.Flags().Changed("streams") {
					return usagef("--streams is about the calibration without a server; leave it out of --against-server")
				}
				return a.againstServer(cmd.Context(), against, asJSON)
			}
			for _, name := range againstNames {
				if cmd.Flags().Changed(name) {
					return fail(exitUsage, "llm-speed calibrate --against-server --"+name+" ...", fmt.Errorf("--%s says which server is meant, and the calibration needs none; add --against-server", name))
				}
			}
			return a.calibrateAlone(cmd.Context(), streams, asJSON)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.IntVar(&streams, "streams", 1, "`N` streams at once")
	fl.BoolVar(&asJSON, "json", false, "print JSON")
	fl.BoolVar(&againstServer, "against-server", false, "compare with a real server's own figures")
	against.target.flags(fl)
	fl.IntSliceVar(&against.prompts, "prompts", agree.DefaultPrompts(), "lengths of the cold prompts in tokens, `N,...`")
	fl.IntVar(&against.repeats, "repeats", 3, "`N` requests of each length")
	fl.StringVar(&against.seed, "seed", "", "`SEED` of the prompts, up to 16 hex digits")
	return cmd
}

// calibrateAlone measures this program against its own simulator.
func (a *app) calibrateAlone(ctx context.Context, streams int, asJSON bool) error {
	if streams < 1 {
		return usagef("--streams %d: want 1 or more", streams)
	}
	ctx, stop := a.interruptible(ctx, func() {})
	defer stop()
	text, flags, err := calibrate.Run(ctx, streams)
	if err != nil {
		return err
	}
	var r calibrate.Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read the receipt: %w", err)
	}
	if asJSON {
		if err := a.writeJSON(r); err != nil {
			return err
		}
	} else {
		a.outf("%s, %s, %.1f s\n", report.Count(r.Streams, "stream"), report.Count(r.Requests, "request"), r.TookS)
		a.outf("TTFT error p50 %s, p99 %s; token latency error p99 %s (limit %g ms)\n", millis(r.TTFTErrorP50Ms), millis(r.TTFTErrorP99Ms), millis(r.ITLErrorP99Ms), r.LimitMs)
		a.outf("%s events/s taken in\n", report.Number(r.EventsPerS))
	}
	if !r.Passed {
		why := errors.New("over the limit: this machine is too busy for this program to measure on")
		if len(flags) > 0 {
			why = fmt.Errorf("over the limit: %s: %s", flags[0].Name, flags[0].Evidence)
		}
		return fail(exitFailed, "end what else runs on this machine, and calibrate again", why)
	}
	return nil
}

// millis shows a time that may be unknown.
func millis(v *float64) string {
	if v == nil {
		return "–"
	}
	return report.Millis(*v)
}
