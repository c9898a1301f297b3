package oracle

import (
	"strings"
	"time"
)

// Read is one return of a client's read: how many bytes of the body had come by then, and when.
type Read struct {
	End int
	At  time.Duration // after t_send
}

// Cut is the case as a client sees it that reads the same bytes in other portions: a write for each moment at which
// something came. An event is there when the line end of its last line is. Reads of one moment are one arrival: nothing
// passed between them.
func (c *Case) Cut(reads []Read) Case {
	type event struct {
		end  int
		mark Mark
	}
	var events []event
	base := 0
	for _, w := range c.Writes {
		ends := w.Ends
		if ends == nil {
			ends = lineEnds(w.Data, len(w.Marks))
		}
		for i, end := range ends {
			events = append(events, event{base + end, w.Marks[i]})
		}
		base += len(w.Data)
	}
	out := *c
	out.Writes = nil
	body, from := c.Body(), 0
	for _, r := range reads {
		w := Write{At: r.At, Data: body[from:r.End]}
		from = r.End
		for len(events) > 0 && events[0].end <= r.End {
			w.Marks = append(w.Marks, events[0].mark)
			events = events[1:]
		}
		if n := len(out.Writes); n > 0 && out.Writes[n-1].At == r.At {
			out.Writes[n-1].Data += w.Data
			out.Writes[n-1].Marks = append(out.Writes[n-1].Marks, w.Marks...)
			continue
		}
		out.Writes = append(out.Writes, w)
	}
	return out
}

// lineEnds gives the offsets behind the lines that complete n events of a write: with one event it is the last line that is
// not blank, with more it is the first n such lines.
func lineEnds(data string, n int) []int {
	var ends []int
	if n == 0 {
		return nil
	}
	for from := 0; ; {
		i := strings.IndexByte(data[from:], '\n')
		if i < 0 {
			break
		}
		if strings.TrimSpace(data[from:from+i]) != "" {
			ends = append(ends, from+i+1)
		}
		from += i + 1
	}
	if n == 1 {
		return ends[len(ends)-1:]
	}
	return ends[:n]
}
