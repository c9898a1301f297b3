package hw

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nominal is macOS's word for a machine that does nothing against its heat.
const nominal = "nominal"

// pressures are macOS's words for its thermal pressure, in the order of their numbers.
var pressures = []string{nominal, "moderate", "heavy", "trapping", "sleeping"}

// maxPowerDoc bounds one document of powermetrics, in bytes; real ones have some tens of KiB.
const maxPowerDoc = 1 << 20

// adminGroup is the group of macOS's administrators.
const adminGroup = 80

// powerTool is the command that goes on printing what powermetrics measures: by itself for the administrator, else by a sudo
// that never asks. Who is no administrator is not tried: sudo would report it to one.
func powerTool(uid int, groups []int, every time.Duration) (name string, args []string, err error) {
	args = []string{"--samplers", "cpu_power,gpu_power,thermal", "-f", "plist", "-i", strconv.FormatInt(every.Milliseconds(), 10)}
	switch {
	case uid == 0:
		return "powermetrics", args, nil
	case slices.Contains(groups, adminGroup):
		return "sudo", append([]string{"-n", "/usr/bin/powermetrics"}, args...), nil
	}
	return "", nil, errors.New("powermetrics answers the administrator alone")
}

// power follows powermetrics until ctx ends.
func (w *Sampler) power(ctx context.Context, s source, name string, args []string) {
	out, err := s.follow(ctx, name, args...)
	if err == nil {
		var sum float64
		samples := 0
		err = w.documents(ctx, out, func(doc []byte) error {
			p, err := parsePowermetrics(doc)
			if err != nil {
				return err
			}
			at := w.now()
			sample := SystemSample{At: at, ThermalPressure: p.pressure}
			if p.microjoules != nil {
				if samples++; samples > 1 { // what the first one measured lies before it
					sum += *p.microjoules
				}
				sample.ChipEnergy = new(int64(math.Round(sum)))
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.addSystem(sample)
			w.powering = p.microjoules != nil
			if p.gpu != nil {
				w.addGPU(sampleOf(at, 0, *p.gpu))
			}
			return nil
		})
	}
	w.mu.Lock()
	w.powering = false
	w.mu.Unlock()
	if ctx.Err() == nil {
		err = cmp.Or(err, errBySelf)
		if name == "sudo" {
			err = fmt.Errorf("powermetrics answers the administrator alone, and sudo would ask for a password (%w)", err)
		} else {
			err = fmt.Errorf("powermetrics ended: %w", err)
		}
		w.why("chip_energy_uj", err)
	}
}

// documents hands on the property lists that a command prints, each as soon as it is whole.
func (w *Sampler) documents(ctx context.Context, out io.ReadCloser, take func([]byte) error) error {
	stop := context.AfterFunc(ctx, func() { _ = out.Close() })
	defer func() {
		if stop() {
			_ = out.Close()
		}
	}()
	scan := bufio.NewScanner(out)
	scan.Buffer(make([]byte, 0, 64<<10), maxPowerDoc)
	end := []byte("</plist>")
	scan.Split(func(data []byte, last bool) (int, []byte, error) {
		if i := bytes.Index(data, end); i >= 0 {
			return i + len(end), data[:i+len(end)], nil
		}
		if last {
			return len(data), nil, nil
		}
		return 0, nil, nil
	})
	bad := 0
	var rate pace
	for scan.Scan() {
		if err := rate.count(); err != nil {
			return err
		}
		err := take(bytes.TrimLeft(scan.Bytes(), "\x00 \r\n"))
		if err == nil {
			bad = 0
			continue
		}
		if bad++; bad >= badLines {
			return err
		}
	}
	return scan.Err()
}

// powerSample is one document of powermetrics.
type powerSample struct {
	microjoules *float64 // of processor, graphics and neural engine in the sample's time
	pressure    *string
	gpu         *GPUState
}

// parsePowermetrics understands what `powermetrics --samplers cpu_power,gpu_power,thermal -f plist` prints on Apple's chips.
// Energies are in mJ a sample, powers in mW; the GPU's frequency is in MHz, whatever its key says.
func parsePowermetrics(doc []byte) (powerSample, error) {
	var s powerSample
	v, err := parsePlist(doc)
	if err != nil {
		return s, err
	}
	top, ok := v.(map[string]any)
	if !ok {
		return s, errors.New("powermetrics: answer not understood: no dictionary")
	}
	of := func(m map[string]any, key string) *float64 {
		if n, ok := m[key].(float64); ok && n >= 0 && n < 1<<50 {
			return &n
		}
		return nil
	}
	seconds := of(top, "elapsed_ns")
	if seconds != nil {
		*seconds /= 1e9
	}
	if word, ok := top["thermal_pressure"].(string); ok {
		if word = strings.ToLower(word); len(word) <= 16 && !strings.ContainsFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) && word != "" {
			s.pressure = &word
		}
	}
	cpu, _ := top["processor"].(map[string]any)
	cores, graphics, neural := of(cpu, "cpu_energy"), of(cpu, "gpu_energy"), of(cpu, "ane_energy")
	gpu, _ := top["gpu"].(map[string]any)
	if graphics == nil {
		graphics = of(gpu, "gpu_energy")
	}
	var byPower *float64
	if all := of(cpu, "combined_power"); all != nil && seconds != nil {
		byPower = new(*all * *seconds * 1000)
	}
	switch {
	case cores != nil && graphics != nil:
		sum := 1000 * (*cores + *graphics)
		if neural != nil {
			sum += 1000 * *neural
		}
		// Nothing but the power says that these numbers are in mJ: where both are there and differ, neither is believed.
		if byPower == nil || math.Abs(sum-*byPower) <= 50e3+0.2*max(sum, *byPower) {
			s.microjoules = &sum
		}
	default:
		s.microjoules = byPower
	}
	if gpu != nil {
		g := GPUState{Vendor: "apple"}
		if idle := of(gpu, "idle_ratio"); idle != nil && *idle <= 1 {
			g.UsePercent = new((1 - *idle) * 100)
		}
		if f := of(gpu, "freq_hz"); f != nil {
			if *f > 1e6 {
				*f /= 1e6
			}
			g.Clock = f
		}
		if watts := of(cpu, "gpu_power"); watts != nil {
			g.Power = new(*watts / 1000)
		} else if graphics != nil && seconds != nil && *seconds > 0 {
			g.Power = new(*graphics / 1000 / *seconds)
		}
		s.gpu = &g
	}
	if s.microjoules == nil && s.pressure == nil && s.gpu == nil {
		return s, errors.New("powermetrics: answer not understood: neither energy nor thermal pressure in it")
	}
	return s, nil
}

// maxPlistDepth bounds how deep a property list may nest.
const maxPlistDepth = 32

// parsePlist reads an XML property list: dictionaries, arrays, numbers, texts and truth values; dates and data are texts.
func parsePlist(doc []byte) (any, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	for {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("property list not understood: %w", err)
		}
		if start, ok := t.(xml.StartElement); ok && start.Name.Local != "plist" {
			return plistValue(d, start, 0)
		}
	}
}

func plistValue(d *xml.Decoder, start xml.StartElement, depth int) (any, error) {
	if depth > maxPlistDepth {
		return nil, errors.New("property list not understood: it nests too deep")
	}
	dict, list, key := map[string]any{}, []any{}, ""
	var text strings.Builder
	for {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("property list not understood: %w", err)
		}
		switch t := t.(type) {
		case xml.CharData:
			if start.Name.Local != "dict" && start.Name.Local != "array" {
				text.Write(t)
			}
		case xml.StartElement:
			v, err := plistValue(d, t, depth+1)
			if err != nil {
				return nil, err
			}
			switch start.Name.Local {
			case "array":
				list = append(list, v)
			case "dict":
				if t.Name.Local == "key" {
					key, _ = v.(string)
				} else if _, have := dict[key]; !have {
					dict[key] = v
				}
			}
		case xml.EndElement:
			switch start.Name.Local {
			case "dict":
				return dict, nil
			case "array":
				return list, nil
			case "true", "false":
				return start.Name.Local == "true", nil
			case "integer", "real":
				if n, err := strconv.ParseFloat(strings.TrimSpace(text.String()), 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
					return n, nil
				}
				return nil, nil // what is no number is not known
			}
			return text.String(), nil
		}
	}
}

// pressureKey is the notification by which macOS tells everybody its thermal pressure.
const pressureKey = "com.apple.system.thermalpressurelevel"

// parsePressure understands notifyutil: the key and its number, with the time before them and the kind behind where it is told
// to be verbose.
func parsePressure(text string) (string, error) {
	f := strings.Fields(text)
	if at := slices.Index(f, pressureKey); at >= 0 && at+1 < len(f) && len(f) <= 4 {
		if n, err := strconv.Atoi(f[at+1]); err == nil && n >= 0 && n < len(pressures) {
			return pressures[n], nil
		}
	}
	return "", fmt.Errorf("notifyutil: answer not understood: %s", quote(text))
}
