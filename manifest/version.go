package manifest

import (
	"strconv"
	"strings"
)

// Newer reports whether semantic version a comes after b. A pre-release comes before its release; two of them compare by
// their text, which is enough for rc1 and rc2.
func Newer(a, b string) bool {
	va, pa, _ := strings.Cut(a, "-")
	vb, pb, _ := strings.Cut(b, "-")
	for i, x := range strings.Split(va, ".") {
		y := strings.Split(vb, ".")
		if i >= len(y) {
			return true
		}
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return m > n
		}
	}
	if pa == "" || pb == "" {
		return pa == "" && pb != ""
	}
	return pa > pb
}
