package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/internal/calibrate"
	"github.com/llm-speed/llm-speed/internal/report"
)

func (a *app) calibrate() *cobra.Command {
	var asJSON bool
	var streams int
	cmd := &cobra.Command{
		Use: "calibrate", Short: "Measure this program's own error on this machine, now", Args: between(0, 0),
		Long: "Measure this program's own error on this machine, now: it reads streams of its own simulator, whose true times are\nknown. bench does the same before every run and keeps the receipt in the result.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if streams < 1 {
				return usagef("--streams %d: want 1 or more", streams)
			}
			ctx, stop := a.interruptible(cmd.Context(), func() {})
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
				a.outf("%d streams, %d requests, %.1f s\n", r.Streams, r.Requests, r.TookS)
				a.outf("TTFT error p50 %s, p99 %s; token latency error p99 %s (limit %g ms)\n", millis(r.TTFTErrorP50Ms), millis(r.TTFTErrorP99Ms), millis(r.ITLErrorP99Ms), r.LimitMs)
				a.outf("%s events/s taken in; %s with the simulator at full speed\n", report.Number(r.EventsPerS), report.Number(r.EventsPerSMax))
				if r.OthersPercent != nil {
					a.outf("other programs took %.0f %% of the CPUs\n", *r.OthersPercent)
				}
			}
			if !r.Passed {
				why := errors.New("over the limit: this machine is too busy for this program to measure on")
				if len(flags) > 0 {
					why = fmt.Errorf("over the limit: %s: %s", flags[0].Name, flags[0].Evidence)
				}
				return fail(exitFailed, "end what else runs on this machine, and calibrate again", why)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&streams, "streams", 1, "streams at once")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// millis shows a time that may be unknown.
func millis(v *float64) string {
	if v == nil {
		return "–"
	}
	return report.Millis(*v)
}
