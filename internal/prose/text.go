package prose

import (
	"strconv"
	"strings"
)

// Text writes so many words, a word being a run without white space. Text of fewer words, with the same seed and label, is
// a prefix of it. Texts of other seeds or labels differ from the first word on: it is a name made from 48 random bits.
func (s *Source) Text(seed uint64, label string, words int) string {
	if words <= 0 {
		return ""
	}
	w := &writer{source: s, random: newRandom(seed, Generator+" text", label), left: words}
	w.out = make([]byte, 0, words*7+256)
	w.title()
	for w.left > 0 {
		w.section()
	}
	return string(w.out[:w.end])
}

// Words counts the words of a text as Text does.
func Words(text string) int {
	n, in := 0, false
	for i := range len(text) {
		space := isSpace(text[i])
		if !space && !in {
			n++
		}
		in = !space
	}
	return n
}

// Salt gives a short sentence that begins with random letters and digits, so that prompts part ways in their first tokens.
// Its length varies by a few bytes only.
func (s *Source) Salt(seed uint64, label string) string {
	r := newRandom(seed, Generator+" salt", label)
	id := r.next()
	return hex16(id>>48) + "-" + hex16(id>>32) + "-" + hex16(id>>16) + "-" + hex16(id) + " " + name(r) +
		" is the reference of this file. "
}

// Task gives the request that ends a prompt, whose natural answer is longer than any that a benchmark asks for.
func (s *Source) Task(seed uint64) string {
	return s.tasks[newRandom(seed, Generator+" task", "").below(len(s.tasks))]
}

// writer holds the state of one text.
type writer struct {
	source *Source
	*random
	out     []byte
	left    int // words still to write
	counted int // bytes of out whose words have been counted
	inWord  bool
	end     int // where the last word ends

	topic   *topic
	subject string
	first   string // the paragraph's person
	last    string
	met     bool // the person has been named in full
	code    codeNames
	deck    []int // sentence templates still to be dealt
	used    [24]pick
	usedLen int
}

// pick is a word that the sentence has already.
type pick struct {
	kind  kind
	index int
}

// count takes note of the words in what was written since the last call.
func (w *writer) count() {
	for ; w.counted < len(w.out) && w.left >= 0; w.counted++ {
		space := isSpace(w.out[w.counted])
		switch {
		case space && w.inWord:
			w.inWord = false
			w.end = w.counted
			w.left--
			if w.left == 0 {
				return
			}
		case !space:
			w.inWord = true
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' }

// title writes the first line, whose first word is the text's own.
func (w *writer) title() {
	n := len(w.source.topics)
	a := w.below(n)
	b := (a + 1 + w.below(max(n-1, 1))) % n
	w.put(name(w.random) + "-" + hex16(w.next()) + hex16(w.next())[:2] + ": notes on " + w.source.topics[a].name + " and " +
		w.source.topics[b].name + "\n\n")
	w.topic = &w.source.topics[a]
	w.count()
}

// section writes a heading and a few paragraphs on one topic.
func (w *writer) section() {
	s := w.source
	w.topic = &s.topics[w.below(len(s.topics))]
	w.paragraphStart()
	w.put("## ")
	w.fill(s.headings[w.below(len(s.headings))])
	w.put("\n\n")
	for n := w.between(3, 6); n > 0 && w.left > 0; n-- {
		w.paragraph()
	}
}

func (w *writer) paragraphStart() {
	s := w.source
	things := w.topic.lists[thing]
	adjs := s.lists[adj]
	w.subject = "the " + adjs[w.below(len(adjs))] + " " + things[w.below(len(things))]
	w.first = s.lists[first][w.below(len(s.lists[first]))]
	w.last = s.lists[last][w.below(len(s.lists[last]))]
	w.met = false
}

// paragraph writes an opening, some sentences, and at times a piece of code.
func (w *writer) paragraph() {
	s := w.source
	w.paragraphStart()
	w.fill(s.openings[w.below(len(s.openings))])
	for n := w.between(3, 7); n > 0; n-- {
		w.put(" ")
		w.fill(s.sentences[w.deal()])
	}
	w.put("\n\n")
	if w.below(9) == 0 {
		w.fill(s.intros[w.below(len(s.intros))])
		w.put("\n\n")
		w.nameCode()
		w.fill(s.code[w.below(len(s.code))])
		w.put("\n\n")
	}
	w.count()
}

// deal gives the next sentence template; each comes once before any comes again.
func (w *writer) deal() int {
	if len(w.deck) == 0 {
		for i := range w.source.sentences {
			w.deck = append(w.deck, i)
		}
		for i := len(w.deck) - 1; i > 0; i-- {
			j := w.below(i + 1)
			w.deck[i], w.deck[j] = w.deck[j], w.deck[i]
		}
	}
	i := w.deck[len(w.deck)-1]
	w.deck = w.deck[:len(w.deck)-1]
	return i
}

func (w *writer) put(s string) { w.out = append(w.out, s...) }

// fill writes a template with its slots filled.
func (w *writer) fill(t template) {
	w.usedLen = 0
	start := len(w.out)
	for _, sl := range t {
		if sl.kind == literal {
			w.put(sl.text)
			continue
		}
		w.word(sl)
	}
	if c := w.out[start]; c >= 'a' && c <= 'z' {
		w.out[start] = c - 'a' + 'A'
	}
}

// choose gives a word of a list that this sentence does not have yet, where the list is long enough.
func (w *writer) choose(k kind) string {
	list := w.source.lists[k]
	if list == nil {
		list = w.topic.lists[k]
	}
	i := w.below(len(list))
	for try := 0; try < len(list) && w.taken(pick{k, i}); try++ {
		i = (i + 1) % len(list)
	}
	if w.usedLen < len(w.used) {
		w.used[w.usedLen] = pick{k, i}
		w.usedLen++
	}
	return list[i]
}

func (w *writer) taken(p pick) bool {
	for _, u := range w.used[:w.usedLen] {
		if u == p {
			return true
		}
	}
	return false
}

// word writes what fills one slot.
func (w *writer) word(sl slot) {
	switch sl.kind {
	case subject:
		w.inflect(w.subject, sl.form)
	case topicName:
		w.put(w.topic.name)
	case person:
		if !w.met {
			w.met = true
			w.put(w.first + " " + w.last)
			return
		}
		w.put(w.choose(first) + " " + w.choose(last))
	case surname:
		if !w.met {
			w.met = true
			w.put(w.first + " ")
		}
		w.put(w.last)
	case moved:
		w.put([...]string{"risen", "fallen", "improved", "dropped", "grown", "drifted"}[w.below(6)])
	case count:
		w.put([...]string{"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "fourteen",
			"fifteen", "eighteen", "twenty", "thirty", "forty"}[w.below(17)])
	case bigCount:
		w.number(w.between(103, 9871))
	case percent:
		w.number(w.between(2, 64))
	case decimal:
		w.number(w.between(1, 98))
		w.put(".")
		w.number(w.below(10))
	case clock:
		w.number(w.between(5, 22))
		w.put([...]string{":00", ":05", ":10", ":15", ":20", ":25", ":30", ":35", ":40", ":45", ":50", ":55"}[w.below(12)])
	case year:
		w.number(w.between(1948, 2023))
	case date:
		w.number(w.between(1, 28))
		w.put(" " + w.choose(month))
	case codeFunc:
		w.inflect(w.code.function, sl.form)
	case codeType:
		w.inflect(w.code.typ, sl.form)
	case codeX:
		w.ident(w.code.x, sl.form)
	case codeY:
		w.ident(w.code.y, sl.form)
	case codeZ:
		w.ident(w.code.z, sl.form)
	case number:
		w.number(w.between(3, 960))
	default:
		w.inflect(w.choose(sl.kind), sl.form)
	}
}

func (w *writer) number(n int) { w.out = strconv.AppendInt(w.out, int64(n), 10) }

// codeNames are the names in one piece of code.
type codeNames struct{ function, typ, x, y, z string }

func (w *writer) nameCode() {
	w.usedLen = 0
	w.code.y = w.choose(thing)
	w.code.function = w.choose(verb) + " " + w.choose(part)
	w.code.typ = w.choose(thing) + " " + [...]string{"log", "report", "state", "plan", "record", "queue"}[w.below(6)]
	w.code.x = w.choose(measure)
	w.code.z = w.choose(part)
}

// ident writes a name of code; its plural is one too.
func (w *writer) ident(words string, f form) {
	if f == plural {
		words, f = pluralOf(words), snake
	}
	w.inflect(words, f)
}

// name makes a name that nobody has, of 16 random bits.
func name(r *random) string {
	heads := [...]string{"Bra", "Cor", "Del", "Fen", "Gar", "Hal", "Jor", "Kel", "Lor", "Mar", "Nor", "Par", "Rav", "Sel", "Tor", "Vel"}
	middles := [...]string{"a", "an", "e", "el", "en", "i", "il", "in", "o", "ol", "on", "or", "u", "ul", "un", "ur"}
	tails := [...]string{"bra", "da", "den", "fa", "gan", "ka", "lin", "mar", "na", "ra", "sen", "ta", "tis", "va", "vik", "za"}
	x := r.next()
	return heads[x>>60] + middles[x>>56&15] + tails[x>>52&15] + tails[x>>48&15]
}

// hex16 writes the low 16 bits.
func hex16(x uint64) string {
	s := strconv.FormatUint(x&0xffff, 16)
	return strings.Repeat("0", 4-len(s)) + s
}
