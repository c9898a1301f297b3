package drivers

import (
	"fmt"
	"strings"
)

// Registry is the explicit list of drivers of a program; package all has the one of llm-speed. The order is the order in
// which bench without --backend chooses.
type Registry struct{ specs []Spec }

// NewRegistry keeps the specs in the order given. Two of one name are a mistake of the program.
func NewRegistry(specs ...Spec) (*Registry, error) {
	seen := map[string]bool{}
	for _, s := range specs {
		if s.Name == "" || seen[s.Name] {
			return nil, fmt.Errorf("drivers: name %q is empty or used twice", s.Name)
		}
		seen[s.Name] = true
	}
	return &Registry{specs}, nil
}

// Specs lists the drivers in order.
func (r *Registry) Specs() []Spec { return r.specs }

// Names lists the drivers' names in order.
func (r *Registry) Names() []string {
	names := make([]string, len(r.specs))
	for i, s := range r.specs {
		names[i] = s.Name
	}
	return names
}

// Lookup finds a driver by name; the error lists the valid ones.
func (r *Registry) Lookup(name string) (Spec, error) {
	for _, s := range r.specs {
		if s.Name == name {
			return s, nil
		}
	}
	return Spec{}, fmt.Errorf("unknown backend %q; known: %s", name, strings.Join(r.Names(), ", "))
}
