package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/suites"
)

// officialQuick runs the quick shapes of the official suite on a simulator, two passes each.
func officialQuick(t *testing.T, spec drivers.Spec, url string) *record.Result {
	t.Helper()
	files, err := suites.Open("suite-v1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := suite.Load(t.Context(), files, suite.InProcess)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	res, err := engine.Run(ctx, engine.Options{
		Suite: s, Official: true, Quick: true, Spec: spec, Seed: 11, RunID: "test", Repeats: 2,
		Config: drivers.Config{URL: url, Env: func(string) string { return "" }, Log: func(string, ...any) {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != 6 {
		t.Fatalf("%d rows; want the six of the quick suite", len(res.Rows))
	}
	return res
}

// TestColdIsProved: on every driver every cold pass of the official suite has a count of cached tokens, stated by the
// server, that is no more than the template's; where the server states none, the row has the flag.
func TestColdIsProved(t *testing.T) {
	profile := sim.Profiles()[0]
	profile.Name, profile.Speed = "cold", 400
	for driver, spec := range specs() {
		for _, c := range []struct {
			name, traps, cold, flag string
			block                   int
		}{
			{name: "stated", cold: "proved", block: 1},
			{name: "stated, cache of blocks", cold: "proved", block: 16},
			{name: "not stated", traps: "no-cached-field", cold: "assumed", flag: "cold_unproved", block: 1},
		} {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				server, err := sim.Start(t.Context(), sim.Options{Profile: profile, Traps: trapsOf(t, c.traps), CacheBlock: c.block})
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
				res := officialQuick(t, spec, server.URL())
				colds := 0
				for _, row := range res.Rows {
					if row.Status != record.OK || row.Passes != 2 || row.Cold != c.cold {
						t.Errorf("%s: %s (%s), %d passes, cold %q; want %q", row.Key, row.Status, row.Reason, row.Passes, row.Cold, c.cold)
					}
					if got := evidence(row.Flags, "cold_unproved"); (got != "") != (c.flag != "") {
						t.Errorf("%s: cold_unproved says %q", row.Key, got)
					}
					if got := evidence(row.Flags, "cache_contaminated"); got != "" {
						t.Errorf("%s: cache_contaminated: %s", row.Key, got)
					}
					for _, s := range row.Samples {
						if row.ID == "W5" && s.Stream > 0 {
							if c.flag == "" && *s.Cached.N == 0 {
								t.Errorf("%s: turn %d of pass %d reused nothing", row.Key, s.Stream+1, s.Pass)
							}
							continue // it goes on with the turn before it
						}
						colds++
						if c.flag != "" {
							if s.Cached.N != nil {
								t.Errorf("%s: %d cached tokens of a server that states none", row.Key, *s.Cached.N)
							}
							continue
						}
						// W5's template puts the tools before the salt, which its passes share.
						if s.Cached.N == nil || s.Cached.From == "" || row.ID != "W5" && *s.Cached.N != 0 {
							t.Errorf("%s: cached tokens %v (%q) of pass %d; want 0, stated", row.Key, s.Cached.N, s.Cached.From, s.Pass)
						}
					}
				}
				if colds != 2*(1+1+2+4+1) {
					t.Errorf("%d cold streams; want 18", colds)
				}
				if c.flag == "" {
					agreesWithLog(t, res, server)
				}
			})
		}
	}
}

// agreesWithLog checks what the rows say of cached tokens against what the simulator really did.
func agreesWithLog(t *testing.T, res *record.Result, server *sim.Server) {
	t.Helper()
	truth := map[[2]int]int{} // prompt and cached tokens of a completion: how often
	for _, s := range server.Log() {
		truth[[2]int{s.PromptTokens, s.CachedTokens}]++
	}
	for _, row := range res.Rows {
		for _, s := range row.Samples {
			if s.Prompt.N == nil || s.Cached.N == nil {
				continue
			}
			key := [2]int{*s.Prompt.N, *s.Cached.N}
			if truth[key]--; truth[key] < 0 {
				t.Errorf("%s says %d prompt tokens of which %d cached; the simulator served no such request", row.Key, key[0], key[1])
			}
		}
	}
}
