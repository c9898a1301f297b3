package oracle

import (
	"slices"
	"time"
)

// Scene is what a server does, said without a protocol: texts, silent tokens, comments, an end, at their moments. A Dialect
// turns it into a Case.
type Scene struct {
	Name   string
	Traps  []int
	Naive  string
	Says   string
	Needs  Talent // what a dialect must be able to say for the scene to mean anything
	Spoilt Talent // with any of these the scene is another one
	Asked  Asked
	HeadAt time.Duration
	Beats  []Beat
	Totals Totals
	End    End
	Status int // HTTP status where it is an error; the body is an error object then

	// Want gives the figures, events, how tokens are known, the finish reason and the flags that do not depend on what counts
	// a dialect states; Dialect.want adds those.
	Want  func(*Dialect) Want
	bytes func(string) string // changes the bytes of every write; nil: leaves them
	cut   func(*tape)         // cuts writes in pieces; nil: does not
	frame Framing
}

// Beat is one thing that a server does. Beats of one moment are one write.
type Beat struct {
	At     time.Duration
	Act    Act
	Kind   Kind // of Says
	Text   string
	Tokens int // of Says and Hushes; of Forgets where the running count goes on
}

// Act is the kind of a Beat.
type Act uint8

// The acts.
const (
	Opens      Act = iota // what a server says before the first token: a role, message_start; some say nothing
	Says                  // tokens with text
	Hushes                // tokens without text
	Forgets               // the running count goes on from Tokens, which is less than it was
	Pings                 // keeps the connection alive
	Progresses            // says how far the prompt is
	Closes                // finish reason, counts and end mark
	Breaks                // an error object
	Overloads             // an error object that says that the server has too much to do
	Babbles               // what is no JSON
	Halves                // half an event
)

// Totals are what a server states at the end.
type Totals struct {
	Prompt, Cached int
	Hidden         int     // reasoning tokens that are counted and never streamed; they come before the first text
	Finish         string  // "length", "stop" or "tool_calls"
	PromptMS       float64 // spent on the uncached part; 0: the server states no times
	DecodeMS       float64 // first token to last
	Uncounted      bool    // the server states no counts
}

// script puts a scene's beats together. It shares the words of a tape.
type script struct {
	tape
	beats []Beat
}

func (s *script) do(at time.Duration, act Act) *script {
	s.beats = append(s.beats, Beat{At: at, Act: act})
	return s
}

// say adds events of n tokens each.
func (s *script) say(first, gap time.Duration, events, n int, k Kind) *script {
	for i := range events {
		s.beats = append(s.beats, Beat{At: first + time.Duration(i)*gap, Act: Says, Kind: k, Text: s.text(n), Tokens: n})
	}
	return s
}

// hush adds tokens without text.
func (s *script) hush(first, gap time.Duration, n int) *script {
	for i := range n {
		s.cum++
		s.beats = append(s.beats, Beat{At: first + time.Duration(i)*gap, Act: Hushes, Tokens: 1})
	}
	return s
}

// forget makes the running count fall.
func (s *script) forget(at time.Duration, to int) *script {
	s.beats = append(s.beats, Beat{At: at, Act: Forgets, Tokens: to})
	return s
}

// output is how many tokens the server counts.
func (s *Scene) output() int {
	n := s.Totals.Hidden
	for _, b := range s.Beats {
		if b.Act != Forgets {
			n += b.Tokens
		}
	}
	return n
}

// reasoning is how many of them are reasoning.
func (s *Scene) reasoning() int {
	n := s.Totals.Hidden
	for _, b := range s.Beats {
		if b.Act == Says && b.Kind == Reasoning {
			n += b.Tokens
		}
	}
	return n
}

// ends reports whether the stream has its regular end.
func (s *Scene) ends() bool {
	return slices.ContainsFunc(s.Beats, func(b Beat) bool { return b.Act == Closes })
}
