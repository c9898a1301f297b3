package builtins

import (
	"time"

	"go.starlark.net/starlark"
)

func timerSpec() Spec {
	return Spec{
		Name: "timer", Live: true, call: callTimer,
		Doc:   "Starts a stopwatch on the engine's clock, for spans of several streams; a stream's own times are in its result.",
		Gives: []Attr{{"elapsed_ms", "method", "see `timer.elapsed_ms`"}},
	}
}

func callTimer(c *call) (starlark.Value, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	return &timerValue{opaque: "timer", session: c.session, start: c.host.Elapsed()}, nil
}

func elapsedSpec() Spec {
	return Spec{Name: "timer.elapsed_ms", Live: true, call: callElapsed, Doc: "Milliseconds since the stopwatch was started, a float."}
}

func callElapsed(c *call) (starlark.Value, error) {
	if err := c.unpack(); err != nil {
		return nil, err
	}
	d := c.host.Elapsed() - c.recv.(*timerValue).start
	return starlark.Float(float64(d) / float64(time.Millisecond)), nil
}

// timerValue is a running stopwatch.
type timerValue struct {
	opaque
	session *session
	start   time.Duration // since the pass began
}

// String shows the call that makes it.
func (t *timerValue) String() string { return "timer()" }

// AttrNames lists the attributes.
func (t *timerValue) AttrNames() []string { return []string{"elapsed_ms"} }

// Attr finds an attribute.
func (t *timerValue) Attr(name string) (starlark.Value, error) {
	if name == "elapsed_ms" {
		return t.session.method("timer.elapsed_ms", t), nil
	}
	return nil, noAttr("timer", name, t.AttrNames())
}
