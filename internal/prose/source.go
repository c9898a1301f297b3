// Package prose writes the generated text of prompts: natural English paragraphs with a piece of code now and then, out
// of a suite's own word lists and sentence templates. The same data, seed and label give the same bytes for ever. It counts
// words, never tokens, and knows no backend.
package prose

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"github.com/llm-speed/llm-speed/suites"
)

// Generator is the version of the rules in this package. A change to any byte that they give is a new version, and the old
// rules stay for the suites that name them.
const Generator = "prose/1"

// DataPath is where a suite keeps its words and templates.
const DataPath = "data/prose.json"

// Source writes text from one suite's data. It is immutable and safe for concurrent use.
type Source struct {
	topics    []topic
	lists     [numKinds][]string // those that belong to no topic
	sentences []template
	openings  []template
	headings  []template
	intros    []template
	code      []template
	tasks     []string
}

// topic is a subject with words of its own.
type topic struct {
	name  string
	lists [numKinds][]string
}

// data is the form of DataPath.
type data struct {
	Topics []struct {
		Name    string   `json:"name"`
		Thing   []string `json:"thing"`   // countable nouns, regular plural
		Part    []string `json:"part"`    // countable nouns, regular plural
		Place   []string `json:"place"`   // used with "the"
		Role    []string `json:"role"`    // countable nouns for people
		Good    []string `json:"good"`    // plural or uncountable nouns, used without an article
		Measure []string `json:"measure"` // nouns used with "the"
		Trouble []string `json:"trouble"` // noun phrases with their article
	} `json:"topics"`
	Lists      map[string][]string `json:"lists"`
	Sentences  []string            `json:"sentences"`
	Openings   []string            `json:"openings"`
	Headings   []string            `json:"headings"`
	CodeIntros []string            `json:"code_intros"`
	Code       []string            `json:"code"`
	Tasks      []string            `json:"tasks"`
}

// Load reads a suite's words and templates, or the built-in ones where it brings none. The generator is the one that the
// suite names.
func Load(fsys fs.FS, generator string) (*Source, error) {
	if generator != Generator {
		return nil, fmt.Errorf("prompt text: the suite wants the generator %q; this program knows %q", generator, Generator)
	}
	raw, err := fs.ReadFile(fsys, DataPath)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = suites.Prose()
	}
	if err != nil {
		return nil, fmt.Errorf("prompt text: the generator %s wants the suite's file %s: %w", generator, DataPath, err)
	}
	s, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("prompt text: %s: %w", DataPath, err)
	}
	return s, nil
}

func parse(raw []byte) (*Source, error) {
	var d data
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, err
	}
	s := &Source{tasks: d.Tasks}
	if len(d.Topics) == 0 {
		return nil, errors.New("has no topics")
	}
	if err := plain("tasks", d.Tasks); err != nil {
		return nil, err
	}
	for _, t := range d.Topics {
		own := topic{name: t.Name}
		own.lists[thing], own.lists[part], own.lists[place], own.lists[role] = t.Thing, t.Part, t.Place, t.Role
		own.lists[good], own.lists[measure], own.lists[trouble] = t.Good, t.Measure, t.Trouble
		if err := plain("a topic's name", []string{t.Name}); err != nil {
			return nil, err
		}
		for _, k := range []kind{thing, part, place, role, good, measure, trouble} {
			if err := plain(t.Name+"."+kindNames[k], own.lists[k]); err != nil {
				return nil, err
			}
		}
		s.topics = append(s.topics, own)
	}
	for _, k := range []kind{adj, verb, adv, first, last, month, day, when, reason, result, doubt, opinion, link, document} {
		if err := plain("lists."+kindNames[k], d.Lists[kindNames[k]]); err != nil {
			return nil, err
		}
		s.lists[k] = d.Lists[kindNames[k]]
		delete(d.Lists, kindNames[k])
	}
	if len(d.Lists) > 0 {
		names := make([]string, 0, len(d.Lists))
		for name := range d.Lists {
			names = append(names, name)
		}
		sort.Strings(names)
		return nil, fmt.Errorf("lists has %s, which no template can use", strings.Join(names, ", "))
	}
	for _, set := range []struct {
		name string
		from []string
		to   *[]template
	}{
		{"sentences", d.Sentences, &s.sentences},
		{"openings", d.Openings, &s.openings},
		{"headings", d.Headings, &s.headings},
		{"code_intros", d.CodeIntros, &s.intros},
		{"code", d.Code, &s.code},
	} {
		if err := plain(set.name, set.from); err != nil {
			return nil, err
		}
		for i, text := range set.from {
			t, err := compile(text)
			if err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", set.name, i, err)
			}
			*set.to = append(*set.to, t)
		}
	}
	return s, nil
}

// plain checks that a list has entries, none of them empty, all of them ASCII.
func plain(name string, list []string) error {
	if len(list) == 0 {
		return fmt.Errorf("%s is empty", name)
	}
	for i, s := range list {
		if strings.TrimSpace(s) == "" {
			return fmt.Errorf("%s[%d] is empty", name, i)
		}
		if at := strings.IndexFunc(s, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' && r != '\t' }); at >= 0 {
			return fmt.Errorf("%s[%d] has a character outside ASCII after %q", name, i, s[:at])
		}
	}
	return nil
}

// kind is a slot's word list or rule.
type kind uint8

const (
	literal kind = iota
	// Lists of a topic.
	thing
	part
	place
	role
	good
	measure
	trouble
	// Lists of the source.
	adj
	verb
	adv
	first
	last
	month
	day
	when
	reason
	result
	doubt
	opinion
	link
	document
	// Rules.
	subject // the paragraph's own thing, with its article
	person  // first and last name
	surname // of the paragraph's own person
	topicName
	moved // a way in which a figure moves
	count
	bigCount
	percent
	decimal
	clock
	year
	date
	codeFunc // names in code: of the block's own function, type and three variables
	codeType
	codeX
	codeY
	codeZ
	number
	numKinds
)

var kindNames = [numKinds]string{
	thing: "thing", part: "part", place: "place", role: "role", good: "good", measure: "measure", trouble: "trouble",
	adj: "adj", verb: "verb", adv: "adv", first: "first", last: "last", month: "month", day: "day", when: "time",
	reason: "reason", result: "result", doubt: "doubt", opinion: "opinion", link: "link", document: "document",
	subject: "subject", person: "person", surname: "surname", topicName: "topic", moved: "moved", count: "count",
	percent: "percent", decimal: "decimal", clock: "clock", year: "year", date: "date", number: "num",
}

// form is how a slot's word is written.
type form uint8

const (
	asIs    form = iota
	article      // with "a" or "an" before it
	plural
	past // of a regular verb
	gerund
	capital // first letter
	snake   // in code
	camel
	bare // without its article
)

// slot is a hole in a template, or a literal.
type slot struct {
	kind kind
	form form
	text string
}

type template []slot

// forms of names that a template can use beyond the plain kinds.
func slotOf(name string) (slot, bool) {
	switch name {
	case "verbed":
		return slot{kind: verb, form: past}, true
	case "verbing":
		return slot{kind: verb, form: gerund}, true
	case "subject":
		return slot{kind: subject, form: capital}, true
	case "subject_l":
		return slot{kind: subject}, true
	case "count2":
		return slot{kind: bigCount}, true
	case "trouble_n":
		return slot{kind: trouble, form: bare}, true
	case "F":
		return slot{kind: codeFunc, form: camel}, true
	case "f":
		return slot{kind: codeFunc, form: snake}, true
	case "T":
		return slot{kind: codeType, form: camel}, true
	case "x", "y", "z", "ys":
		k := map[byte]kind{'x': codeX, 'y': codeY, 'z': codeZ}[name[0]]
		if name == "ys" {
			return slot{kind: k, form: plural}, true
		}
		return slot{kind: k, form: snake}, true
	case "X", "Y", "Z":
		return slot{kind: map[byte]kind{'X': codeX, 'Y': codeY, 'Z': codeZ}[name[0]], form: camel}, true
	case "word", "word2":
		return slot{kind: adj}, true
	}
	out := slot{}
	if rest, ok := strings.CutPrefix(name, "a:"); ok {
		name, out.form = rest, article
	} else if rest, ok := strings.CutSuffix(name, "+s"); ok {
		name, out.form = rest, plural
	} else if name[0] >= 'A' && name[0] <= 'Z' {
		name, out.form = strings.ToLower(name[:1])+name[1:], capital
	}
	name = strings.TrimSuffix(name, "2")
	if i := slices.Index(kindNames[:], name); i > 0 && name != "" {
		out.kind = kind(i)
		return out, true
	}
	return slot{}, false
}

// compile splits a template at its {slots}. A brace that doesn't enclose a name is itself.
func compile(text string) (template, error) {
	var t template
	lit := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '{' {
			continue
		}
		end := i + 1
		for end < len(text) && isNameByte(text[end]) {
			end++
		}
		if end == i+1 || end == len(text) || text[end] != '}' {
			continue
		}
		s, ok := slotOf(text[i+1 : end])
		if !ok {
			return nil, fmt.Errorf("unknown slot %s", text[i:end+1])
		}
		if lit < i {
			t = append(t, slot{text: text[lit:i]})
		}
		t = append(t, s)
		lit, i = end+1, end
	}
	if lit < len(text) {
		t = append(t, slot{text: text[lit:]})
	}
	return t, nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == ':' || c == '+'
}
