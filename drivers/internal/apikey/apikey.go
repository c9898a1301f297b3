// Package apikey finds the key of a hosted service. It prints none.
package apikey

import "github.com/llm-speed/llm-speed/drivers"

// Generic is the environment variable of a key for whichever server is used.
const Generic = "LLM_SPEED_API_KEY"

// Of is the key for the service whose own environment variable is name: one given on the command line first, then the
// service's own, then the generic one. A generic key that is meant for another server is not sent to a service that has its
// own.
func Of(c drivers.Config, name string) drivers.Secret {
	if c.Env == nil {
		return c.APIKey
	}
	own, generic := c.Env(name), c.Env(Generic)
	if own == "" || c.APIKey.IsSet() && c.APIKey.Reveal() != generic {
		if !c.APIKey.IsSet() {
			return drivers.NewSecret(generic)
		}
		return c.APIKey
	}
	return drivers.NewSecret(own)
}
