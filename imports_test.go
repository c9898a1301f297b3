package llmspeed_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/llm-speed/llm-speed"

// driver is what a driver may import: no other driver, not the engine, not the metrics.
var driver = []string{"drivers", "drivers/internal/...", "internal/chat", "internal/clock", "internal/proc", "internal/stream", "internal/weights"}

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
	"internal/chart":               {},
	"internal/page":                {"internal/chart", "internal/compare", "internal/llamabench", "internal/record", "internal/report", "internal/stats"},
	"internal/llamabench":          {"internal/record", "internal/seal", "internal/stats"},
	"internal/seal":                {},
	"internal/oracle":              {"drivers"},
	"internal/oracle/judge":        {"internal/measure", "internal/oracle", "internal/stream"},
	"internal/measure":             {"internal/stream", "internal/stats"},
	"internal/hw":                  {"internal/proc"},
	"internal/filelock":            {},
	"internal/formats":             {"internal/record", "internal/report"},
	"internal/identity":            {"internal/hw"},
	"internal/compare":             {"internal/record", "internal/report", "internal/stats"},
	"internal/store":               {"internal/filelock", "internal/record", "internal/seal", "internal/stream"},
	"internal/upload":              {"internal/hw", "internal/record", "internal/seal", "internal/stats", "internal/store"},
	"internal/upload/uploadschema": {"internal/record/recordschema", "internal/upload"},
	"internal/report":              {"internal/record", "internal/stream", "internal/stats"},
	"internal/sim":                 {"internal/chat"},
	"builtins":                     {"internal/chat"},
	"drivers":                      {"internal/chat", "internal/clock", "internal/stream"},
	"drivers/internal/httpx":       {"drivers", "internal/clock", "internal/stream"},
	"drivers/internal/apikey":      {"drivers"},
	"drivers/internal/argv":        {"drivers/internal/paths"},
	"drivers/internal/framed":      {"drivers", "internal/chat"},
	"drivers/internal/limits":      {"internal/clock"},
	"drivers/internal/loose":       {},
	"drivers/internal/ndjson":      {"internal/stream"},
	"drivers/internal/openai":      {"drivers", "drivers/internal/httpx", "drivers/internal/sse", "internal/chat", "internal/stream"},
	"drivers/internal/paths":       {"drivers"},
	"drivers/internal/pick":        {"drivers", "drivers/internal/paths"},
	"drivers/internal/plain":       {"drivers", "internal/chat"},
	"drivers/internal/prometheus":  {},
	"drivers/internal/pyhelper":    {"drivers", "drivers/internal/...", "internal/chat", "internal/clock", "internal/proc", "internal/stream", "internal/weights"},
	"drivers/internal/sse":         {"internal/stream"},
	"drivers/internal/thinking":    {"internal/stream"},
	"drivers/all":                  {"drivers", "drivers/...", "internal/stream"},
	"drivers/anthropic":            driver,
	"drivers/exllama":              driver,
	"drivers/hosted":               driver,
	"drivers/llamacpp":             driver,
	"drivers/lmstudio":             driver,
	"drivers/mlx":                  driver,
	"drivers/ollama":               driver,
	"drivers/openaicompat":         driver,
	"drivers/sglang":               driver,
	"drivers/sim":                  driver,
	"drivers/tabbyapi":             driver,
	"drivers/trtllm":               driver,
	"drivers/vllm":                 driver,
	"internal/sandbox":             {"builtins", "internal/suite"},
	"manifest":                     {"internal/filelock"},
	"manifest/manifesttest":        {},
	"engine":                       {"builtins", "drivers", "internal/chat", "internal/clock", "internal/measure", "internal/prose", "internal/record", "internal/stats", "internal/stream", "internal/suite"},
	"cmd/llm-speed":                {"cmd/internal/cli"},
	"cmd/internal/cli":             {"..."},
	"drivers/drivertest":           {"drivers", "internal/chat", "internal/clock", "internal/measure", "internal/oracle", "internal/oracle/judge", "internal/stream"},
	"internal/record/recordschema": {"internal/record"},
	"internal/calibrate":           {"drivers", "drivers/sim", "internal/clock", "internal/measure", "internal/record", "internal/sim", "internal/stats", "internal/stream", "internal/chat"},
	"internal/agree":               {"drivers", "internal/chat", "internal/measure", "internal/proc", "internal/prose", "internal/stats", "internal/stream"},
	"internal/weights/weightstest": {},
	"scripts":                      {"internal/weights/weightstest"},
}

// thirdParty says which packages alone may import a module from outside.
var thirdParty = map[string][]string{
	"github.com/spf13/cobra":        {"cmd/internal/cli"},
	"github.com/google/go-jsonnet":  {"internal/suite"},
	"go.starlark.net":               {"builtins"},
	"github.com/sigstore":           {"manifest", "manifest/manifesttest"},
	"golang.org/x/image":            {"internal/chart"},
	"github.com/secure-systems-lab": {"internal/seal"},
	"golang.org/x/mod":              {"internal/upload"},
	"os/exec":                       {"internal/proc", "internal/sandbox", "cmd/internal/cli"},
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
