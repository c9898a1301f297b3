package weights

import (
	"errors"
	"os"
	"strings"
	"unicode"
)

// errNotRegular is the error of what has no bytes of its own: opening a pipe waits for whoever writes into it.
var errNotRegular = errors.New("it is not a regular file")

// open opens a regular file, and nothing else.
func open(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return os.Open(path)
}

// maxShown bounds a text of a header that is shown, in letters.
const maxShown = 128

// shown is a text of a header as it can be shown: on one line, without signs that steer a terminal, and not long.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
	if letters := []rune(text); len(letters) > maxShown {
		return string(letters[:maxShown]) + "…"
	}
	return text
}
