package loose

import (
	"encoding/json"
	"testing"
)

func TestObject(t *testing.T) {
	var o Object
	if err := json.Unmarshal([]byte(`{"n":4096,"f":4096.0,"half":1.5,"neg":-1,"huge":1e300,"past":1e999,"word":"a\"b","digits":"7","no":null,
		"yes":true,"not":false,"in":{"x":1},"list":[{"a":1},2,null,{"a":3}],"empty":""}`), &o); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  string
		want int
		ok   bool
	}{{"n", 4096, true}, {"f", 4096, true}, {"half", 0, false}, {"neg", 0, false}, {"huge", 0, false}, {"past", 0, false},
		{"word", 0, false}, {"digits", 0, false}, {"no", 0, false}, {"yes", 0, false}, {"absent", 0, false}} {
		if n, ok := o.Int(c.key); n != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", c.key, n, ok)
		}
	}
	if o.Int("absent", "n"); o.Count("absent", "half", "n") != 4096 || o.Count("absent") != 0 {
		t.Error("the first that fits is not taken")
	}
	if f, ok := o.Number("half"); f != 1.5 || !ok {
		t.Error("half")
	}
	if f, ok := o.Number("neg"); f != -1 || !ok {
		t.Error("neg")
	}
	if o.Text("no", "empty", "word") != `a"b` || o.Text("n") != "" {
		t.Error("text")
	}
	if v, ok := o.Flag("yes"); !v || !ok {
		t.Error("yes")
	}
	if v, ok := o.Flag("not"); v || !ok {
		t.Error("not")
	}
	if _, ok := o.Flag("n"); ok {
		t.Error("a number is no flag")
	}
	if o.Has("no") || o.Has("absent") || !o.Has("n") {
		t.Error("has")
	}
	if o.Object("in").Count("x") != 1 || o.Object("n").Count("x") != 0 {
		t.Error("object")
	}
	if l := o.Objects("list"); len(l) != 2 || l[1].Count("a") != 3 {
		t.Errorf("list: %v", l)
	}
	var none Object
	if none.Text("a") != "" || none.Count("a") != 0 || none.Has("a") || len(none.Objects("a")) != 0 {
		t.Error("the zero value has fields")
	}
}

// FuzzObject holds that nothing breaks the readers, and that what they call a count is one.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[1]`, `null`, `{"a":"\ud800"}`, `{"a":-0}`, `{"a":1e400}`, `{"a":[{}]}`, `{"a":`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Object
		if json.Unmarshal(b, &o) != nil {
			return
		}
		for k := range o {
			if n, ok := o.Int(k); n < 0 || n > 0 && !ok {
				t.Fatalf("%d, %v", n, ok)
			}
			_, _ = o.Number(k)
			_, _, _ = o.Text(k), o.Objects(k), o.Object(k)
			_, _ = o.Flag(k)
		}
	})
}
