package builtins

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

func wSpec() Spec {
	return Spec{
		Name: "w",
		Doc:  "What `run(w)` is given: the sizes of this pass and where its figures go.",
		Gives: []Attr{
			{"params", "object", "the workload's params, as in suite.jsonnet"},
			{"point", "object", "the row's point"},
			{"record", "method", "see `w.record`"},
			{"skip", "method", "see `w.skip`"},
		},
	}
}

// newW converts the point that is run.
func (s *session) newW() (starlark.Value, error) {
	w := newObject("w")
	for _, part := range []struct {
		name string
		data map[string]any
	}{{"params", s.point.Params}, {"point", s.point.Point}} {
		v, err := toStarlark("w."+part.name, part.data, 0)
		if err != nil {
			return nil, fmt.Errorf("w.%s: %w", part.name, err)
		}
		v.Freeze()
		w.set(part.name, v)
	}
	w.set("record", s.method("w.record", w))
	w.set("skip", s.method("w.skip", w))
	return w, nil
}

func recordSpec() Spec {
	return Spec{
		Name: "w.record", Live: true, call: callRecord,
		Doc: "Keeps a value of a metric that the suite declares for this workload. None is allowed and means unknown: no value is kept, " +
			"and the run's log says how many there were.",
		Params: []Param{
			{Name: "metric", Type: "string", Required: true, Positional: true, Doc: "its declared name"},
			{Name: "value", Type: "number or None", Required: true, Positional: true, Doc: "in the metric's unit"},
		},
	}
}

func callRecord(c *call) (starlark.Value, error) {
	var metric string
	var value floatArg
	if err := c.unpack(&metric, &value); err != nil {
		return nil, err
	}
	if !c.declared(metric) {
		return nil, c.errorf("the suite declares no metric %q for this workload; declared: %s", metric, listed(c.point.Metrics))
	}
	if !value.given {
		c.unknown[metric]++
		return starlark.None, nil
	}
	if err := c.host.Record(metric, value.f); err != nil {
		return nil, c.hostError(err)
	}
	return starlark.None, nil
}

func skipSpec() Spec {
	return Spec{
		Name: "w.skip", Live: true, call: callSkip,
		Doc:    "Ends the pass and marks the row skipped.",
		Params: []Param{{Name: "reason", Type: "string", Required: true, Positional: true, Doc: "why, for people"}},
	}
}

func callSkip(c *call) (starlark.Value, error) {
	var reason string
	if err := c.unpack(&reason); err != nil {
		return nil, err
	}
	if strings.TrimSpace(reason) == "" {
		return nil, c.errorf("reason is empty")
	}
	return nil, &SkipError{Reason: shown(reason)}
}
