package hw

import (
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
)

// module is a memory module in its socket.
type module struct {
	speed    int      // megatransfers a second as it runs; 0 where not known
	locators []string // the board's names for socket and bank
}

// channelName takes all that stands before the channel too: processors and memory controllers count their own.
var channelName = regexp.MustCompile(`(?i)^(.*channel[ _-]?(?:[a-z]|\d{1,2}))(?:$|[^a-z0-9])`)

// channel is the board's name of the channel that a module is in, or "".
func (m module) channel() string {
	for _, name := range m.locators {
		if found := channelName.FindStringSubmatch(strings.TrimSpace(name)); found != nil {
			return strings.ToUpper(found[1])
		}
	}
	return ""
}

// ramOf sums modules up. Channels are known only where the board names them for each module.
func ramOf(modules []module) RAM {
	ram := RAM{Modules: some(len(modules))}
	channels := map[string]bool{}
	slowest := 0
	for _, m := range modules {
		channels[m.channel()] = true
		if m.speed > 0 && (slowest == 0 || m.speed < slowest) {
			slowest = m.speed
		}
	}
	ram.Speed = some(slowest)
	if !channels[""] {
		ram.Channels = some(len(channels))
	}
	return ram
}

// parseSMBIOS finds the memory modules in the firmware's table (DMTF DSP0134, structure type 17). Serial numbers in it are
// not looked at.
func parseSMBIOS(table []byte) ([]module, error) {
	var modules []module
	for len(table) >= 4 {
		kind, length := table[0], int(table[1])
		if length < 4 || length > len(table) {
			return nil, errors.New("the firmware's table is damaged")
		}
		body := table[:length]
		// Behind the body stand its texts, each ended by a zero, the last by two.
		rest := table[length:]
		var texts []string
		for {
			text, after, ok := cutZero(rest)
			if !ok {
				return nil, errors.New("the firmware's table is cut off")
			}
			if rest = after; text == "" {
				if len(texts) == 0 && len(rest) > 0 && rest[0] == 0 { // none at all is two zeros
					rest = rest[1:]
				}
				break
			}
			texts = append(texts, text)
		}
		table = rest
		if kind == 127 {
			break
		}
		if kind != 17 || length < 0x15 {
			continue
		}
		if size := binary.LittleEndian.Uint16(body[0x0C:]); size == 0 || size == 0xFFFF {
			continue // an empty socket, or one that does not tell
		}
		m := module{locators: []string{textOf(texts, body[0x10]), textOf(texts, body[0x11])}}
		if length >= 0x17 {
			m.speed = int(binary.LittleEndian.Uint16(body[0x15:]))
		}
		if length >= 0x22 {
			if configured := int(binary.LittleEndian.Uint16(body[0x20:])); configured != 0 {
				m.speed = configured
			}
		}
		if m.speed == 0xFFFF {
			m.speed = 0
		}
		modules = append(modules, m)
	}
	return modules, nil
}

func cutZero(b []byte) (text string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

func textOf(texts []string, number byte) string {
	if number == 0 || int(number) > len(texts) {
		return ""
	}
	return texts[number-1]
}
