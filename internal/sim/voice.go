package sim

// voice writes one completion's answer. Frames are whole: with all that the protocol puts around its JSON.
type voice interface {
	contentType() string
	// opening is what stands in front of the first token's frame; nil where nothing does.
	opening() []byte
	// event appends the frame of a group of tokens; pad bytes of filling go into a field that nobody reads.
	event(b []byte, e event, pad int) []byte
	// said is an event's text as a client must see it.
	said(e event) string
	// joins reports whether the last event's frame is part of the ending.
	joins() bool
	// ending is the frames that follow the last token, all but the end mark; last is the last event where joins says so, else nil.
	ending(s *Served, last *event) [][]byte
	// mark is what says that the stream is complete.
	mark(s *Served) []byte
	// holes are the numbers in events and opening that are known only when they are written.
	holes() []hole
	// failure is an error inside the stream.
	failure(message string) []byte
	// comment is a frame that says nothing; nil where the protocol has none.
	comment(text string) []byte
	// garbage is a frame that can't be understood, torn the beginning of one.
	garbage() []byte
	torn() string
	// body is the answer of a request that does not stream.
	body(s *Served, events []event) []byte
}
