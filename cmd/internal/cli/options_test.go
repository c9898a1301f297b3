package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

// What may hold a key or a path is not kept; that it was set is, so that a resumed run asks for it again.
func TestKeepOptions(t *testing.T) {
	spec := drivers.Spec{Options: []drivers.Option{{Name: "args"}, {Name: "ngl"}, {Name: "exe"}, {Name: "path", Env: llamaPathEnv}, {Name: "key", Secret: true}}}
	options := map[string]string{"args": "--api-key KEY", "ngl": "99", "exe": "/home/me/llm-speed", "path": "/home/me", "key": "KEY"}
	var r record.Result
	keepOptions(&r, spec, options)
	if diff := cmp.Diff(map[string]string{"ngl": "99"}, r.Backend.Options); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"args", "exe"}, lost(&r)); diff != "" {
		t.Error(diff)
	}
	a := &app{&Process{}}
	f := benchFlags{}
	var usage *failure
	if err := a.takeOptions(&f, &r); !errors.As(err, &usage) || usage.code != exitUsage || !strings.Contains(usage.hint, "--opt args=VALUE") {
		t.Errorf("options that were not kept: %v", err)
	}
	f.options = []string{"args=-c 8192", "exe=x", "ngl=1"}
	if err := a.takeOptions(&f, &r); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"args=-c 8192", "exe=x", "ngl=1"}, f.options); diff != "" {
		t.Error(diff)
	}
}

func TestPlainValue(t *testing.T) {
	for value, want := range map[string]bool{
		"fast": true, "99": true, "status=500,stall=300@4": true, "auto": true, "": true,
		"--api-key KEY": false, "--api-key=KEY": false, "api-key=KEY": false, "-c8192": false, "a b": false, "/x": false, `C:\x`: false,
		"x=--flag": false, "sk-abc": false, "a\tb": false, strings.Repeat("x", 201): false,
	} {
		if plainValue(value) != want {
			t.Errorf("plainValue(%q) = %v", value, !want)
		}
	}
}
