package seal

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		doc  string
		want string // part of the error; empty for none
	}{
		{`{"a":1,"b":[true,null,"x",{"a":-9007199254740991}]}`, ""},
		{`"x"`, ""}, {`0`, ""}, {" {} \n", ""}, {deep(16), ""}, {`{"a":{"a":1},"b":{"a":2}}`, ""},
		{deep(17), "deeper than 16"}, {strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), "deeper than 16"},
		{`{"a":1,"a":2}`, `"a" stands twice`}, {`{"a":1,"\u0061":2}`, `"a" stands twice`}, {`[{"x":{"é":1,"b":2,"é":3}}]`, "stands twice"},
		{`{"A":1,"a":2}`, ""}, // canonical form, in Decode, refuses other cases
		{`1.0`, "whole"}, {`1e3`, "whole"}, {`-0`, "2^53"}, {`9007199254740992`, "2^53"}, {`99999999999999999999999`, "2^53"}, {`[1,2,3.5]`, "whole"},
		{"\"\xff\"", "UTF-8"}, {"\xef\xbb\xbf{}", "no JSON"}, {"", "empty"}, {" \n", "empty"}, {"{", "cut off"}, {`{"a":1`, "cut off"}, {`{} {}`, "no JSON"}, {`{}x`, "no JSON"},
		{`[1 2]`, "no JSON"}, {`{"a" 1}`, "no JSON"}, {`{a:1}`, "no JSON"}, {`[}`, "no JSON"}, {`NaN`, "no JSON"}, {`<html>`, "no JSON"}, {`01`, "no JSON"},
		{`"` + strings.Repeat("x", 256<<10) + `"`, "the most is 262144"},
	} {
		err := Check([]byte(c.doc), Limits{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.60s: got %v, want %q", c.doc, err, c.want)
		}
	}
	for _, doc := range []string{`1.5`, `1e3`, `-0`, `99999999999999999999999`} {
		if err := Check([]byte(doc), Limits{Floats: true}); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
	if err := Check([]byte(strings.Repeat("[", 5_000_000)), Limits{Bytes: 1 << 30}); err == nil {
		t.Error("five million brackets")
	}
}

// TestCheckFree: what another program wrote may be as it likes, and what follows it may not.
func TestCheckFree(t *testing.T) {
	limits := Limits{Depth: 3, Floats: true, Free: "extra"}
	many := `{"k0":0`
	for i := 1; i < 200; i++ {
		many += fmt.Sprintf(`,"k%d":%d.5e3`, i, i)
	}
	for doc, want := range map[string]string{
		`{"extra":{"a":1,"a":2,"b":[[[[[{"c":1,"c":2}]]]]]},"d":[1]}`: "",
		`{"extra":{"a":1},"b":{"a":1,"a":2}}`:                         `"a" stands twice`,
		`{"extra":[[[[1]]]],"b":[[[1]]]}`:                             "deeper than 3",
		`{"extra":1,"extra":2}`:                                       `"extra" stands twice`,
		many + `}`:                                                    "",
		many + `,"k7":1}`:                                             `"k7" stands twice`,
		many + `,"k199":1}`:                                           `"k199" stands twice`,
	} {
		err := Check([]byte(doc), limits)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60s: got %v, want %q", doc, err, want)
		}
	}
}

// TestCheckAmount: a short text may not become much in memory.
func TestCheckAmount(t *testing.T) {
	limits := Limits{Values: 12, Lists: map[string]int{"rows": 3}}
	for doc, want := range map[string]string{
		`{"rows":[{},{},{}],"b":[1,2,3,4]}`:                       "",
		`{"rows":[{},{},{},{}]}`:                                  "more than 3 rows",
		`{"a":{"rows":[{},{}]},"b":{"rows":[{},{}]}}`:             "more than 3 rows",
		`{"rows":[{"x":[1,1,1,1,1,1]}]}`:                          "",
		`[1,1,1,1,1,1,1,1,1,1,1,1]`:                               "more than 12 values",
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":{"g":[{},{},{},{}]}}`: "",
	} {
		err := Check([]byte(doc), limits)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", doc, err, want)
		}
	}
}

// FuzzCheck: what passes is JSON with whole numbers, on which a second reading agrees.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `{"a":1,"a":1}`, `1e5`, "\"\\ud800\"", strings.Repeat("[", 40)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if Check(doc, Limits{}) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(doc, &v); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		// Keys that stand twice would be one here.
		if strings.Count(string(doc), ":") < strings.Count(string(again), ":") {
			t.Fatalf("%s became %s", doc, again)
		}
	})
}
