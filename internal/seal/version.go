package seal

import (
	"fmt"
	"strconv"
	"strings"
)

// SchemaError says what a document of another schema is: of a newer program, of an older one, or something else. have and
// want look like llm-speed/seal/v1.
func SchemaError(have, want string) error {
	name, wanted, _ := versionOf(want)
	other, version, ok := versionOf(have)
	switch {
	case !ok || other != name:
		return fmt.Errorf("schema %q, want %s", Shorten(have), want)
	case version > wanted:
		return fmt.Errorf("schema %q is of a newer llm-speed; this one reads %s: update it", have, want)
	}
	return fmt.Errorf("schema %q is of an older llm-speed; this one reads %s only", have, want)
}

// versionOf splits llm-speed/seal/v1 into its name and its number.
func versionOf(schema string) (name string, version int, ok bool) {
	at := strings.LastIndex(schema, "/v")
	if at < 0 {
		return "", 0, false
	}
	version, err := strconv.Atoi(schema[at+2:])
	return schema[:at], version, err == nil && version >= 0
}

// typeError says which type a payload has instead of the one wanted; both end in .vN+json.
func typeError(have, want string) error {
	schema := func(t string) string {
		t = strings.TrimSuffix(t, "+json")
		if at := strings.LastIndex(t, ".v"); at >= 0 {
			return t[:at] + "/v" + t[at+2:]
		}
		return t
	}
	if name, _, ok := versionOf(schema(have)); ok {
		if wanted, _, _ := versionOf(schema(want)); wanted == name {
			return SchemaError(schema(have), schema(want))
		}
	}
	return fmt.Errorf("%w: the payload's type is %q, want %s", ErrBad, Shorten(have), want)
}
