package hw

import "encoding/binary"

// gpuMetrics reads the table that AMD's driver shows as gpu_metrics: the firmware's own counters, without a process. Layouts
// are those of the kernel's kgd_pp_interface.h, all numbers little-endian; 4 bytes of head say the size and the version. What
// a table of this version does not hold, or marks with all bits set, stays null.
func gpuMetrics(b []byte, g *GPUState) {
	if len(b) < 4 || int(binary.LittleEndian.Uint16(b)) > len(b) {
		return
	}
	b = b[:binary.LittleEndian.Uint16(b)]
	if len(b) < 4 {
		return
	}
	switch format, content := b[2], b[3]; {
	case format == 1 && (content == 1 || content == 2):
		metricsEnergy(b, 24, g)
	case format == 1 && content == 3:
		metricsEnergy(b, 24, g)
		metricsReasons(b, 112, g)
	case format == 1 && (content == 4 || content == 5):
		metricsEnergy(b, 24, g)
	case format == 1 && content == 6:
		metricsEnergy(b, 16, g)
		metricsResidency(b, 32, g)
	case format == 1 && content == 7, format == 1 && content == 8:
		metricsEnergy(b, 24, g)
		metricsResidency(b, 40, g)
	case format == 2 && content >= 2 && content <= 4: // processors with graphics
		metricsReasons(b, 120, g)
	}
}

// metricsEnergy reads the accumulator, which counts in parts of 2^-16 J.
func metricsEnergy(b []byte, at int, g *GPUState) {
	if at+8 > len(b) {
		return
	}
	n := binary.LittleEndian.Uint64(b[at:])
	// Drivers of small cards leave the field as it was: all bits, those of 32 bits, or nothing.
	if n == 0 || n >= 1<<63 || n == 1<<32-1 {
		return
	}
	whole, part := n>>16, n&(1<<16-1)
	if whole > 1<<40 {
		return
	}
	g.Energy = some(int64(whole*1e6 + part*1e6>>16))
}

// The bits of the throttle status that is the same on all of AMD's chips.
const (
	amdPower  = 0xff             // package power and its like
	amdTurns  = 0xff << 16       // electric current
	amdHeat   = 0xfff << 32      // temperatures of the chip, its memory, its regulators, its coolant
	amdHotPin = 0b11<<44 | 1<<47 // signals from outside that something is too hot; that of the processor beside it is not the GPU's
)

// metricsReasons names what the throttle status says.
func metricsReasons(b []byte, at int, g *GPUState) {
	if at+8 > len(b) {
		return
	}
	status := binary.LittleEndian.Uint64(b[at:])
	if status == 1<<64-1 {
		return
	}
	names := []string{}
	for _, x := range []struct {
		bits uint64
		name string
	}{{amdPower, "power"}, {amdTurns, "current"}, {amdHeat, "heat"}, {amdHotPin, "prochot"}} {
		if status&x.bits != 0 {
			names = append(names, x.name)
		}
	}
	g.Reasons = names
}

// metricsResidency reads how many of the firmware's cycles were spent below the clocks for heat: of the socket, the regulators
// and the memory, and for a signal from outside.
func metricsResidency(b []byte, at int, g *GPUState) {
	if at+24 > len(b) {
		return
	}
	n := func(i int) uint32 { return binary.LittleEndian.Uint32(b[at+4*i:]) }
	const none = 1<<32 - 1
	if n(0) == none || n(0) == 0 {
		return
	}
	var heat int64
	for _, i := range []int{1, 3, 4, 5} { // 2 is the power cap
		if n(i) == none {
			return
		}
		heat += int64(n(i))
	}
	cycles := int64(n(0))
	g.Cycles, g.HeatCycles = &cycles, &heat
}
