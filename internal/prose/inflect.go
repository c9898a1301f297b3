package prose

import "strings"

// inflect writes words in a form.
func (w *writer) inflect(words string, f form) {
	switch f {
	case article:
		w.put(articleOf(words))
		w.put(words)
	case plural:
		w.put(pluralOf(words))
	case past:
		w.put(pastOf(words))
	case gerund:
		w.put(strings.TrimSuffix(words, "e") + "ing")
	case capital:
		w.put(strings.ToUpper(words[:1]))
		w.put(words[1:])
	case bare:
		for _, a := range [...]string{"a ", "an ", "the "} {
			words = strings.TrimPrefix(words, a)
		}
		w.put(strings.ToUpper(words[:1]))
		w.put(words[1:])
	case snake:
		w.joined(words, false)
	case camel:
		w.joined(words, true)
	default:
		w.put(words)
	}
}

// joined writes words as one identifier: snake_case or CamelCase.
func (w *writer) joined(words string, camel bool) {
	start := true
	for i := range len(words) {
		c := words[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		switch {
		case !letter:
			start = true
			if !camel {
				w.out = append(w.out, '_')
			}
		case camel && start:
			w.out = append(w.out, c&^0x20)
			start = false
		case !camel:
			w.out = append(w.out, c|0x20)
		default:
			w.out = append(w.out, c)
		}
	}
}

// articleOf goes by the first letter, and by sound for "honest".
func articleOf(words string) string {
	if strings.ContainsRune("aeiou", rune(words[0])) || strings.HasPrefix(words, "honest") {
		return "an "
	}
	return "a "
}

// pluralOf knows the regular plurals and -man.
func pluralOf(words string) string {
	last := words[len(words)-1]
	switch {
	case strings.HasSuffix(words, "man"):
		return words[:len(words)-2] + "en"
	case last == 'y' && !vowelBefore(words):
		return words[:len(words)-1] + "ies"
	case last == 's' || last == 'x' || strings.HasSuffix(words, "ch") || strings.HasSuffix(words, "sh"):
		return words + "es"
	}
	return words + "s"
}

// pastOf knows regular verbs that double no consonant.
func pastOf(verb string) string {
	last := verb[len(verb)-1]
	switch {
	case last == 'e':
		return verb + "d"
	case last == 'y' && !vowelBefore(verb):
		return verb[:len(verb)-1] + "ied"
	}
	return verb + "ed"
}

// vowelBefore tells whether the last letter but one is a vowel.
func vowelBefore(word string) bool {
	return len(word) > 1 && strings.ContainsRune("aeiou", rune(word[len(word)-2]))
}
