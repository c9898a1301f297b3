package drivers

import "strings"

// Value is what one of a driver's options is set to: by the user, by its environment variable, or by default. An option that is
// not among them is a mistake of the driver's own, and is empty.
func (c Config) Value(options []Option, name string) string {
	if v := c.Options[name]; v != "" {
		return v
	}
	for _, o := range options {
		if o.Name != name {
			continue
		}
		if v := strings.TrimSpace(c.Getenv(o.Env)); v != "" {
			return v
		}
		return o.Default
	}
	return ""
}

// Getenv reads the environment that a driver was given; empty where it was given none.
func (c Config) Getenv(key string) string {
	if c.Env == nil {
		return ""
	}
	return c.Env(key)
}
