package all

import "testing"

// Every backend has its decoder without a session: a run of it can be computed again.
func TestDecoders(t *testing.T) {
	r, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range r.Specs() {
		if Decoder(spec.Name) == nil {
			t.Errorf("no decoder of %s", spec.Name)
		}
	}
	if Decoder("nosuch") != nil {
		t.Error("a decoder of a backend that does not exist")
	}
}
