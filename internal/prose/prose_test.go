package prose

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

const suiteDir = "../../suites/suite-v1"

func source(t testing.TB) *Source {
	t.Helper()
	s, err := Load(os.DirFS(suiteDir), Generator)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The bytes of a generator never change. A difference here means that prompts of old results can't be made again.
func TestGolden(t *testing.T) {
	s := source(t)
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	got := map[string]string{}
	for _, seed := range []uint64{0, 1, 0x9e3779b97f4a7c15} {
		for _, words := range []int{1, 100, 5000, 100_000} {
			key := strconv.FormatUint(seed, 16) + " W1 " + strconv.Itoa(words)
			got[key] = hash(s.Text(seed, "W1", words))
		}
		got[strconv.FormatUint(seed, 16)+" salt"] = s.Salt(seed, "W1")
		got[strconv.FormatUint(seed, 16)+" task"] = hash(s.Task(seed))
	}
	got["0 without label 1000"] = hash(s.Text(0, "", 1000))
	golden := filepath.Join("testdata", "prose-1.json")
	if *update {
		raw, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text is another (-want +got):\n%s", diff)
	}
}

// SplitMix64's first outputs from the state 0, as its author publishes them.
func TestRandomIsSplitMix64(t *testing.T) {
	r := &random{}
	for i, want := range []uint64{0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f} {
		if got := r.next(); got != want {
			t.Errorf("output %d is %#x, want %#x", i, got, want)
		}
	}
}

func TestTextIsStableUnderLength(t *testing.T) {
	s := source(t)
	for _, label := range []string{"", "W3/context=32768"} {
		long := s.Text(42, label, 3000)
		for words := 1; words <= 3000; words += 1 + words/7 {
			text := s.Text(42, label, words)
			if got := Words(text); got != words {
				t.Fatalf("Text of %d words has %d", words, got)
			}
			if !strings.HasPrefix(long, text) || len(text) < len(long) && !isSpace(long[len(text)]) {
				t.Fatalf("Text of %d words is no prefix at a word's end of that of 3000", words)
			}
		}
	}
	for _, words := range []int{0, -1} {
		if text := s.Text(1, "", words); text != "" {
			t.Errorf("Text of %d words is %q", words, text)
		}
	}
}

func TestOthersDifferFromTheFirstWord(t *testing.T) {
	s := source(t)
	firstWord := func(text string) string { return strings.Fields(text)[0] }
	texts, salts := map[string]bool{}, map[string]bool{}
	n := 0
	for seed := range uint64(200) {
		for _, label := range []string{"", "a", "b", "W3", "W4/0", "W4/1", "W4/10", "W41/0", "ab", "b\x00a"} {
			texts[firstWord(s.Text(seed, label, 20))] = true
			salts[firstWord(s.Salt(seed, label))] = true
			n++
		}
	}
	if len(texts) != n || len(salts) != n {
		t.Errorf("%d texts begin with %d words, and their salts with %d", n, len(texts), len(salts))
	}
	if again := source(t); again.Salt(1, "a") != s.Salt(1, "a") || again.Text(1, "a", 50) != s.Text(1, "a", 50) {
		t.Error("the same seed and label give different bytes")
	}
}

// sentences splits text outside code.
func sentences(text string) []string {
	var out []string
	for i, block := range strings.Split(text, "```") {
		if i%2 == 1 {
			continue
		}
		for _, line := range strings.Split(block, "\n") {
			if line == "" || strings.HasPrefix(line, "## ") {
				continue
			}
			out = append(out, strings.SplitAfter(line, ". ")...)
		}
	}
	return out
}

func TestTextOfALongContext(t *testing.T) {
	const words = 100_000
	text := source(t).Text(7, "long", words)
	if got := Words(text); got != words {
		t.Errorf("has %d words, want %d", got, words)
	}
	for i := range len(text) {
		if c := text[i]; c > '~' || c < ' ' && c != '\n' && c != '\t' {
			t.Fatalf("has the byte %#x after %q", c, text[max(0, i-40):i])
		}
	}
	if i := strings.Index(text, "{subject"); i >= 0 || strings.Contains(text, "%!") {
		t.Errorf("has an unfilled slot")
	}
	seen := map[string]int{}
	all := sentences(text)
	for _, s := range all {
		seen[s]++
	}
	if len(all) < words/30 {
		t.Errorf("has only %d sentences", len(all))
	}
	if ratio := float64(len(seen)) / float64(len(all)); ratio < 0.995 {
		for s, n := range seen {
			if n > 2 {
				t.Logf("%d times: %s", n, s)
			}
		}
		t.Errorf("%.2f %% of %d sentences are unique, want 99.5 %%", 100*ratio, len(all))
	}
	distinct := map[string]bool{}
	for _, w := range strings.Fields(text) {
		distinct[strings.ToLower(strings.Trim(w, ".,:;?()"))] = true
	}
	if len(distinct) < 3000 {
		t.Errorf("has only %d different words", len(distinct))
	}
	if n := strings.Count(text, "```"); n%2 != 0 && !strings.HasSuffix(text, "}") || n < 50 {
		t.Errorf("has %d marks of code", n)
	}
}

// No 60 words in a row come twice, or a long prompt would be shorter than it looks.
func TestNoLongRepetition(t *testing.T) {
	const run = 60
	fields := strings.Fields(source(t).Text(3, "repeat", 60_000))
	seen := map[[sha256.Size]byte]bool{}
	for i := 0; i+run <= len(fields); i++ {
		// Every run is looked up, but only runs that begin at a multiple of 30 are kept: each of 90 words holds one.
		sum := sha256.Sum256([]byte(strings.Join(fields[i:i+run], " ")))
		if seen[sum] {
			t.Fatalf("comes twice: %s", strings.Join(fields[i:i+run], " "))
		}
		if i%(run/2) == 0 {
			seen[sum] = true
		}
	}
}

func TestInflection(t *testing.T) {
	for in, want := range map[string]string{
		"winch": "winches", "diary": "diaries", "mast stay": "mast stays", "gearbox": "gearboxes", "lineman": "linemen",
		"crane": "cranes", "bus stop bypass": "bus stop bypasses", "dish": "dishes",
	} {
		if got := pluralOf(in); got != want {
			t.Errorf("plural of %s is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"store": "stored", "carry": "carried", "delay": "delayed", "weigh": "weighed"} {
		if got := pastOf(in); got != want {
			t.Errorf("past of %s is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"older": "an ", "honest": "an ", "rare": "a "} {
		if got := articleOf(in); got != want {
			t.Errorf("article of %s is %q, want %q", in, got, want)
		}
	}
}

func TestCompileLeavesBracesOfCode(t *testing.T) {
	const text = "type {T} struct{} // {{num}, \"{a:adj}\"} {ys: x} {}"
	got, err := compile(text)
	if err != nil {
		t.Fatal(err)
	}
	want := template{
		{text: "type "}, {kind: codeType, form: camel}, {text: " struct{} // {"}, {kind: number}, {text: ", \""},
		{kind: adj, form: article}, {text: "\"} {ys: x} {}"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(slot{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(suiteDir, DataPath))
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	tests := []struct{ name, generator, from, to, want string }{
		{"generator", "prose/2", "", "", `wants the generator "prose/2"; this program knows "prose/1"`},
		{"not JSON", Generator, "{", "[", "data/prose.json: "},
		{"unknown field", Generator, `"headings"`, `"heddings"`, `unknown field "heddings"`},
		{"unknown list", Generator, `"adv":`, `"advv":`, "lists.adv is empty"},
		{"more lists", Generator, `"lists": {`, `"lists": { "mood": ["x"],`, "lists has mood"},
		{"unknown slot", Generator, "{trouble_n}", "{trubble}", "headings[3]: unknown slot {trubble}"},
		{"empty word", Generator, `"gantry crane"`, `" "`, "the harbour.thing[0] is empty"},
		{"not ASCII", Generator, `"gantry crane"`, `"gantry cr\u00e2ne"`, `outside ASCII after "gantry cr"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(good, tt.from) {
				t.Fatalf("the data has no %q", tt.from)
			}
			fsys := fstest.MapFS{DataPath: {Data: []byte(strings.Replace(good, tt.from, tt.to, 1))}}
			if _, err := Load(fsys, tt.generator); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want it to say %s", err, tt.want)
			}
		})
	}
	if s, err := Load(fstest.MapFS{}, Generator); err != nil || s == nil {
		t.Errorf("without data of its own, a suite has the built-in lists: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	const small = `{"topics":[{"name":"t","thing":["a"],"part":["b"],"place":["c"],"role":["d"],"good":["e"],"measure":["f"],"trouble":["g"]}],
"lists":{"adj":["x"],"verb":["x"],"adv":["x"],"first":["x"],"last":["x"],"month":["x"],"day":["x"],"time":["x"],"reason":["x"],"result":["x"],
"doubt":["x"],"opinion":["x"],"link":["x"],"document":["x"]},"sentences":["The {subject_l} {verbed} {a:thing}."],"openings":["{person}"],
"headings":["{Thing}"],"code_intros":["{F}"],"code":["{x} {ys} {T}"],"tasks":["Go on."]}`
	f.Add([]byte(small))
	f.Add([]byte(`{"topics":[]}`))
	f.Add([]byte(strings.Replace(small, "{subject_l}", "{{}{a:}{2}{+s}", 1)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Load(fstest.MapFS{DataPath: {Data: raw}}, Generator)
		if err != nil {
			return
		}
		const words = 300
		text := s.Text(1, "f", words)
		if Words(text) != words || !strings.HasPrefix(text, s.Text(1, "f", 20)) {
			t.Errorf("text has %d words, want %d", Words(text), words)
		}
		if s.Task(1) == "" || s.Salt(1, "f") == "" {
			t.Error("no task or no salt")
		}
	})
}

func BenchmarkText100k(b *testing.B) {
	s := source(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Text(uint64(i), "bench", 100_000)
	}
}
