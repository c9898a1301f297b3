package drivers

import "log/slog"

// Secret is a key. Every way of printing it gives ***; only Reveal gives the key, for the one header that needs it.
type Secret struct{ key string }

// NewSecret wraps a key; an empty key is no key.
func NewSecret(key string) Secret { return Secret{key} }

// Reveal is the key itself.
func (s Secret) Reveal() string { return s.key }

// IsSet reports whether there is a key.
func (s Secret) IsSet() bool { return s.key != "" }

// String hides the key.
func (s Secret) String() string {
	if s.key == "" {
		return ""
	}
	return "***"
}

// GoString hides the key from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the key from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the key from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
