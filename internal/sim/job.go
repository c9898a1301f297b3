package sim

import (
	"net"
	"syscall"
	"time"
)

// The stages of a job.
type stage uint8

const (
	waiting  stage = iota // for a slot
	queued                // for its prefill
	prefill               //
	starting              // between prefill and first token
	decoding              //
	finished              // generated; what it wrote may still be on its way
)

// job is one completion. The handler makes it, the timetable alone touches it between submit and done.
type job struct {
	prompt  []int32
	reuse   bool
	salt    string        // of the prefix cache
	load    time.Duration // the model is loaded first, so long
	slow    float64       // everything takes this many times longer
	arrived time.Duration // the request was fully read
	ticks   int           // tokens to generate, at least 1
	steps   []step
	merge   bool          // steps due together go out in one write
	hangs   bool          // the stream is never ended by us
	slots   int           // streams at once, when this one is to be admitted
	burstOf time.Duration // with merge: how long a buffering proxy gathers
	conn    net.Conn
	raw     syscall.RawConn
	served  *Served
	ids     []int32 // what the cache keeps afterwards: prompt and output
	done    chan struct{}

	stage   stage
	at      float64 // seconds since the origin: admitted (queued), or when the stage ends (prefill, starting)
	blocked bool    // found no free slot when it came
	vDue    float64 // decode work at which the next token is due
	tick    int     // tokens generated
	next    int     // steps[:next] are in out or gone
	out     []timed
	last    time.Duration // due time of the last step put into out
	busy    bool          // a goroutine of its own writes for it
	pending bool          // the journal waits for it
}

// step is one write.
type step struct {
	after  int           // due with this token; 0: with the request
	delay  time.Duration // later than that
	data   []byte
	late   func(*job) []byte // makes data when it is due, from what is known only then
	events []Sent
	act    action
}

type action uint8

const (
	stay   action = iota
	cut           // close the connection
	resetC        // reset the connection
)

type timed struct {
	due time.Duration
	*step
}
