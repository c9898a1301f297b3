package sim

import "testing"

func BenchmarkPlan(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		c := &completion{chat: true, profile: Profiles()[0], prompt: make([]int32, 30), served: &Served{Model: "m"}}
		c.req.Stream = true
		c.out = generate(200, 1, Traps{})
		if steps := c.plan(); len(steps) != 201 {
			b.Fatal(len(steps))
		}
	}
}

func BenchmarkTokenize(b *testing.B) {
	var text []byte
	for len(text) < 600<<10 {
		for _, t := range say(100, uint64(len(text))) {
			text = append(text, t.text...)
		}
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Tokenize(string(text))
	}
}
