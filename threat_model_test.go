package llmspeed_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModel holds that every row of docs/threat-model.md names a test, and that every test that it names is there, its
// subtests too; and that no attack of TestAttacks is missing in it.
func TestThreatModel(t *testing.T) {
	doc, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	source := map[string]string{} // of the file that has a test, by the test's name
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	if err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(b), -1) {
			source[m[1]] += string(b)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	name := regexp.MustCompile("`((?:Test|Fuzz)\\w+)(/[^`]+)?`")
	for line := range strings.SplitSeq(string(doc), "\n") {
		tests := name.FindAllStringSubmatch(line, -1)
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| attack ") && len(tests) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, m := range tests {
			named[m[1]+m[2]] = true
			text, ok := source[m[1]]
			if !ok {
				t.Errorf("there is no test %s", m[1])
			}
			if sub := strings.ReplaceAll(strings.TrimPrefix(m[2], "/"), "_", " "); sub != "" && !strings.Contains(text, `{"`+sub+`",`) {
				t.Errorf("%s has no %q", m[1], sub)
			}
		}
	}
	attack := regexp.MustCompile(`(?m)^\t\t\{"([^"]+)", func\(t \*testing\.T, p \*publisher\)`)
	attacks := attack.FindAllStringSubmatch(source["TestAttacks"], -1)
	if len(attacks) < 40 {
		t.Fatalf("only %d attacks are found", len(attacks))
	}
	for _, m := range attacks {
		if key := "TestAttacks/" + strings.ReplaceAll(m[1], " ", "_"); !named[key] {
			t.Errorf("the table does not name %s", key)
		}
	}
}
