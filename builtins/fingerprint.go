package builtins

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.starlark.net/starlark"
)

func fingerprintSpec() Spec {
	return Spec{
		Name: "fingerprint", Live: true, call: callFingerprint,
		Doc: "Hardware, backend, model and its limits, as read-only data; what is not known is None.",
	}
}

func callFingerprint(c *call) (starlark.Value, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	raw, err := c.host.Fingerprint(c.ctx)
	if err != nil {
		return nil, c.hostError(err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var data map[string]any
	if err := dec.Decode(&data); err != nil {
		return nil, c.hostError(fmt.Errorf("not a JSON object: %w", err))
	}
	if data == nil {
		return starlark.None, nil
	}
	v, err := toStarlark("fingerprint", data, 0)
	if err != nil {
		return nil, c.hostError(err)
	}
	v.Freeze()
	return v, nil
}
