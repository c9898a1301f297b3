package sim

import "time"

// ask is what a request wants, in the words that all dialects share.
type ask struct {
	model     string
	chat      bool
	prompt    []int32
	stream    bool
	usage     bool // to be stated in the stream
	running   bool // in each event too
	ids       bool // token ids in each event
	optioned  bool // stream_options was there
	tokens    *int // nil: not stated
	least     int  // the model does not end by itself before
	ignoreEOS bool
	context   int           // tokens that this request may use; 0: the profile's
	clips     bool          // an output that does not fit is cut off, not refused
	reuse     bool          // the prefix cache may be used
	salt      string        // the part of the cache that it shares with requests of the same salt
	load      time.Duration // the model is loaded first, so long
	seed      *uint64
	raw       bool // no template was applied
	perf      bool // times are to be stated
}

// answered is an answer that needs no generation, given as the error of an endpoint's read.
type answered struct{ body any }

func (*answered) Error() string { return "answered" }

// answer ends a request without generating.
func (c *completion) answer(body any) error { return &answered{body} }
