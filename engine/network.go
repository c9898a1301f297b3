package engine

import (
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// addConn notes a connection that was opened.
func (r *run) addConn(c stream.Conn) {
	r.connsMu.Lock()
	defer r.connsMu.Unlock()
	r.conns = append(r.conns, c)
}

// network sums up the connections that were opened, for timed streams and for warm-ups.
func (r *run) network() {
	if len(r.conns) == 0 {
		return
	}
	median := func(of func(stream.Conn) time.Duration) *float64 {
		var ms []float64
		for _, c := range r.conns {
			if d := of(c); d > 0 {
				ms = append(ms, d.Seconds()*1000)
			}
		}
		if x, ok := stats.Median(ms); ok {
			return &x
		}
		return nil
	}
	r.result.Network = record.Network{
		RTTms: median(func(c stream.Conn) time.Duration { return c.Connect }),
		DNSms: median(func(c stream.Conn) time.Duration { return c.DNS }),
		TLSms: median(func(c stream.Conn) time.Duration { return c.TLS }),
	}
	for name, v := range map[string]struct {
		x   *float64
		why string
	}{
		"network.rtt_ms": {r.result.Network.RTTms, "no connection was opened"},
		"network.dns_ms": {r.result.Network.DNSms, "the server was given by its address"},
		"network.tls_ms": {r.result.Network.TLSms, "the connection is not encrypted"},
	} {
		if v.x == nil {
			r.result.Reasons[name] = v.why
		}
	}
}
