package builtins

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRunTests(t *testing.T) {
	doc := map[string]any{"results": []any{map[string]any{"key": "A", "ttft_ms": 12.5, "decode_tps": nil, "flags": []any{"simulated"}}}}
	tests, err := RunTests(t.Context(), "suite_test.star", []byte(`
def helper(t):
    t.fail("as told")

def test_good(t):
    row = t.row("A")
    t.near(row.ttft_ms, 12, percent = 5)
    t.equal(row.flags, ["simulated"])
    t.true(row.ttft_ms > 1)
    print(row.key)

def test_bad(t):
    row = t.row("A")
    t.near(row.ttft_ms, 20, percent = 5)
    t.near(row.decode_tps, 20, percent = 5)
    t.known(row.decode_tps, msg = "decode")
    t.equal(row.key, "B")
    t.true([])
    helper(t)

def test_lost(t):
    t.row("Z")
`), doc)
	if err != nil {
		t.Fatal(err)
	}
	at := func(line, col int, msg string) Failure { return Failure{"suite_test.star", line, col, msg} }
	want := []Tested{
		{Name: "test_good", Printed: []string{"A"}},
		{Name: "test_bad", Failures: []Failure{
			at(14, 11, "got 12.5, want 20 within 5 %"), at(15, 11, "got None, want about 20"), at(16, 12, "decode: is None, want a value"),
			at(17, 12, `got "A", want "B"`), at(18, 11, "does not hold"), at(3, 11, "as told"),
		}},
		{Name: "test_lost", Failures: []Failure{at(22, 10, `t.row: the result has no row "Z"; it has: A`)}},
	}
	if d := cmp.Diff(want, tests); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for name, src := range map[string]string{"no tests": "x = 1\n", "syntax": "def test_a(t:\n", "unknown name": "def test_a(t):\n    prompt()\n"} {
		if _, err := RunTests(t.Context(), "suite_test.star", []byte(src), doc); err == nil || !strings.HasPrefix(err.Error(), "suite_test.star") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
