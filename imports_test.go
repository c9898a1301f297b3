package llmspeed_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/llm-speed/llm-speed"

// allowed says which packages of ours each part may import; a trailing /... takes what lies below too. What is not listed
// may import nothing of ours. The README's architecture section draws the same.
var allowed = map[string][]string{
	"internal/clock":               {},
	"internal/chat":                {},
	"internal/stream":              {},
	"internal/record":              {},
	"internal/stats":               {},
	"internal/weights":             {},
	"internal/proc":                {},
	"suites":                       {},
	"internal/suite":               {"internal/record"}, // the names of the fields that a suite may report
	"internal/prose":               {"suites"},
	"internal/oracle":              {"drivers", "internal/measure", "internal/stats", "internal/stream"},
	"internal/measure":             {"internal/stream", "internal/stats"},
	"internal/hw":                  {"internal/proc"},
	"internal/store":               {"internal/record", "internal/stream"},
	"internal/report":              {"internal/record", "internal/stream", "internal/stats"},
	"internal/sim":                 {"internal/chat"},
	"builtins":                     {"internal/chat"},
	"drivers":                      {"internal/chat", "internal/clock", "internal/stream"},
	"drivers/internal/httpx":       {"drivers", "internal/clock", "internal/stream"},
	"drivers/internal/paths":       {"drivers"},
	"drivers/internal/sse":         {"internal/stream"},
	"drivers/internal/ndjson":      {"internal/stream"},
	"drivers/internal/openai":      {"drivers", "drivers/internal/httpx", "drivers/internal/sse", "internal/chat", "internal/stream"},
	"drivers/all":                  {"drivers", "drivers/llamacpp", "drivers/openaicompat", "drivers/sim"},
	"drivers/llamacpp":             {"drivers", "drivers/internal/...", "internal/chat", "internal/clock", "internal/proc", "internal/stream", "internal/weights"},
	"drivers/openaicompat":         {"drivers", "drivers/internal/...", "internal/chat", "internal/clock", "internal/stream"},
	"drivers/sim":                  {"drivers", "drivers/internal/...", "internal/chat", "internal/clock", "internal/proc", "internal/stream"},
	"internal/sandbox":             {"builtins", "internal/suite"},
	"engine":                       {"builtins", "drivers", "internal/chat", "internal/clock", "internal/measure", "internal/prose", "internal/record", "internal/stats", "internal/stream", "internal/suite"},
	"cmd/llm-speed":                {"cmd/internal/cli"},
	"cmd/internal/cli":             {"..."},
	"drivers/drivertest":           {"drivers", "internal/chat", "internal/clock", "internal/stream"},
	"internal/record/recordschema": {"internal/record"},
	"internal/calibrate":           {"drivers", "drivers/sim", "internal/clock", "internal/measure", "internal/record", "internal/sim", "internal/stats", "internal/stream", "internal/chat"},
	"internal/agree":               {"drivers", "internal/chat", "internal/measure", "internal/proc", "internal/prose", "internal/stats", "internal/stream"},
	"internal/weights/weightstest": {},
	"scripts":                      {"internal/weights/weightstest"},
}

// thirdParty says which packages alone may import a module from outside.
var thirdParty = map[string][]string{
	"github.com/spf13/cobra":       {"cmd/internal/cli"},
	"github.com/google/go-jsonnet": {"internal/suite"},
	"go.starlark.net":              {"builtins"},
	"os/exec":                      {"internal/proc", "internal/sandbox", "cmd/internal/cli"},
}

// TestImportDirection holds the architecture: imports run one way, drivers never meet, only the named parts touch the
// outside packages that are theirs.
func TestImportDirection(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		may, listed := allowed[name]
		if !listed {
			if name != "" && len(p.Imports) > 0 {
				t.Errorf("package %s is not in the table of allowed imports: put it there", name)
			}
			continue
		}
		seen++
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok && !matches(may, ours) {
				t.Errorf("%s imports %s, which the architecture does not allow", name, ours)
			}
			for outside, who := range thirdParty {
				if (imp == outside || strings.HasPrefix(imp, outside+"/")) && !slices.Contains(who, name) {
					t.Errorf("%s imports %s, which belongs to %v", name, imp, who)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d packages checked: go list saw too little", seen)
	}
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		prefix, below := strings.CutSuffix(p, "...")
		if p == name || below && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
