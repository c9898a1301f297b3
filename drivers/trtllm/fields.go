package trtllm

import (
	"errors"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
)

// The fields that not every version takes. One that is refused, by its name, is given up for the session.
const (
	fieldIgnoreEOS = "ignore_eos"
	fieldMinTokens = "min_tokens"
	fieldSalt      = "cache_salt"
	fieldEach      = "continuous_usage_stats"
	fieldUsage     = "stream_options"
	fieldSpecial   = "skip_special_tokens"
	fieldKwargs    = "chat_template_kwargs"
	fieldSeed      = "seed"
)

// fields says which optional fields are sent.
type fields map[string]bool

// newFields has what every current version takes. min_tokens comes in only where ignore_eos alone does not work.
func newFields() fields {
	return fields{fieldIgnoreEOS: true, fieldSalt: true, fieldEach: true, fieldUsage: true, fieldSpecial: true, fieldKwargs: true, fieldSeed: true}
}

// giveUp leaves out the field that a refusal names, and reports whether there is one. The order matters: one name may hold
// another.
func (f fields) giveUp(err error) (field string, ok bool) {
	var api *drivers.APIError
	if !errors.As(err, &api) || api.Status != 400 && api.Status != 422 {
		return "", false
	}
	for _, name := range []string{fieldEach, fieldUsage, fieldSalt, fieldKwargs, fieldSpecial, fieldMinTokens, fieldIgnoreEOS, fieldSeed} {
		if f[name] && strings.Contains(api.Message, name) {
			f[name] = false
			return name, true
		}
	}
	return "", false
}
