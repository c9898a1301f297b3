// Package argv reads the further arguments that a user gives for a program, and writes a command line as it may be shown.
package argv

import (
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/drivers/internal/paths"
)

// Split cuts a command line at blanks outside quotes. No variable is put in and nothing is escaped.
func Split(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	var quote rune
	open := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, open = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if open || word.Len() > 0 {
				out = append(out, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c is not closed", quote)
	}
	if open || word.Len() > 0 {
		out = append(out, word.String())
	}
	return out, nil
}

// Shown joins arguments with the folders taken off absolute paths, and with *** for what follows a flag that names a key or a
// token.
func Shown(args []string) string {
	out := make([]string, 0, len(args))
	hide := false
	for _, a := range args {
		flag, value, joined := strings.Cut(a, "=")
		low := strings.ToLower(flag)
		secret := strings.HasPrefix(a, "-") && (strings.HasSuffix(low, "key") || strings.HasSuffix(low, "token") || strings.HasSuffix(low, "password") || low == "-hft")
		switch {
		case hide && !strings.HasPrefix(a, "--"):
			a = "***"
		case secret && joined:
			a = flag + "=***"
		case joined && paths.IsAbs(value):
			a = flag + "=" + paths.Base(value)
		case paths.IsAbs(a):
			a = paths.Base(a)
		}
		hide = secret && !joined
		out = append(out, a)
	}
	return strings.Join(out, " ")
}
