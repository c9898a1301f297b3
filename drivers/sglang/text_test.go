package sglang

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShape(t *testing.T) {
	for _, c := range []struct {
		name  string
		texts []string
		hint  string
		want  string
	}{
		{"none", nil, textWhole, textWhole},
		{"one", []string{"a"}, textDelta, textDelta},
		{"whole", []string{"a", "ab", "abc", "abcd", "abcde"}, "", textWhole},
		{"whole, against the hint", []string{"a", "ab", "abc", "abcd", "abcde"}, textDelta, textWhole},
		{"new ones", []string{"one", " two", " three"}, "", textDelta},
		{"new ones, against the hint", []string{"one", " two", " three"}, textWhole, textDelta},
		{"the same again and again", []string{"!", "!", "!"}, "", textDelta},
		{"the same again and again, from a server of whole texts", []string{"!", "!", "!"}, textWhole, textWhole},
		{"two that fit both", []string{"\n", "\n\n"}, "", textWhole},
		{"two that fit both, new ones by the hint", []string{"\n", "\n\n"}, textDelta, textDelta},
		{"empty ones first", []string{"", "", "a", "ab"}, "", textWhole},
		{"a replaced character", []string{"a\uFFFD", "a東", "a東京", "a東京は", "a東京は!"}, "", textWhole},
	} {
		if got := shape(c.texts, c.hint); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDeltas(t *testing.T) {
	for _, c := range []struct {
		name        string
		texts, want []string
		rewritten   bool
	}{
		{"plain", []string{"a", "ab", "abc"}, []string{"a", "b", "c"}, false},
		{"silent steps", []string{"", "a", "a", "ab"}, []string{"", "a", "", "b"}, false},
		{"an empty last one", []string{"a", "ab", ""}, []string{"a", "b", ""}, false},
		{"a character in pieces", []string{"x\uFFFD", "x\uFFFD\uFFFD", "x東", "x東y"}, []string{"x", "", "東", "y"}, false},
		{"one that stays replaced", []string{"x\uFFFD", "x\uFFFDy"}, []string{"x", "\uFFFDy"}, false},
		{"one that stays replaced to the end", []string{"x", "x\uFFFD"}, []string{"x", "\uFFFD"}, false},
		{"rewritten", []string{"Hello", "Hellp!"}, []string{"Hello", "p!"}, true},
		{"rewritten inside a character", []string{"x東", "x京"}, []string{"x東", "京"}, true},
		{"taken off again", []string{"ab###", "ab"}, []string{"ab###", ""}, true},
	} {
		got, rewritten := deltas(c.texts, true)
		if diff := cmp.Diff(c.want, got); diff != "" || rewritten != c.rewritten {
			t.Errorf("%s: rewritten %v\n%s", c.name, rewritten, diff)
		}
		if last := c.texts[len(c.texts)-1]; !c.rewritten && last != "" && strings.Join(got, "") != last {
			t.Errorf("%s: the parts are not the whole: %q", c.name, strings.Join(got, ""))
		}
	}
	if got, _ := deltas([]string{"x", "x\uFFFD"}, false); strings.Join(got, "") != "x" {
		t.Errorf("a stream that was cut inside a character: %q", got)
	}
}
