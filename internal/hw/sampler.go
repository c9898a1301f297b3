package hw

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SeriesSchema names the document that Series is.
const SeriesSchema = "llm-speed/state/v1"

// How often and how long the machine is looked at.
const (
	sampleEvery = time.Second
	readyWithin = probeLimit
	firstAnswer = 10 * time.Second // of nvidia-smi; a driver without persistence mode wakes each GPU first
	maxSamples  = 4096             // of a kind; an hour and more at one a second. Past that every second one of the older half is let go
)

// Series is what a Sampler saw. Times are on the clock that it was given; what a machine does not show is absent.
type Series struct {
	Schema  string            `json:"schema"`
	EveryMs int64             `json:"every_ms"` // aimed at; t_ns says when
	System  []SystemSample    `json:"system"`
	GPUs    []GPUSample       `json:"gpus"`
	Users   []ProcessSample   `json:"gpu_processes,omitempty"` // of NVIDIA's; absent where its tool names none
	Reasons map[string]string `json:"reasons,omitempty"`       // why a part is absent or ends early
}

// SystemSample is one look at the machine beside its GPUs.
type SystemSample struct {
	At              time.Duration `json:"t_ns"`
	Load1m          *float64      `json:"load_1m,omitempty"`
	CPUPercent      *float64      `json:"cpu_percent,omitempty"`        // of all CPUs, since the sample before
	OwnCPUs         *float64      `json:"own_cpus,omitempty"`           // CPUs' worth of time that the run and the server took since then; Linux
	OthersPercent   *float64      `json:"others_cpu_percent,omitempty"` // of the CPUs that this process may use, by all others since then; Linux
	CPUClock        *float64      `json:"cpu_clock_mhz,omitempty"`
	CPUTemperature  *float64      `json:"cpu_temperature_c,omitempty"`
	CPUThrottles    *int64        `json:"cpu_throttles,omitempty"`           // since the start of the system, over all cores
	CPUSpeedLimit   *float64      `json:"cpu_speed_limit_percent,omitempty"` // macOS
	ThermalPressure *string       `json:"thermal_pressure,omitempty"`        // macOS
	ChipEnergy      *int64        `json:"chip_energy_uj,omitempty"`          // of Apple's chip, since the first reading of it
	CPUEnergy       *int64        `json:"cpu_energy_uj,omitempty"`           // of all packages, since the first sample
	RAMAvailable    *int64        `json:"ram_available_bytes,omitempty"`
	OnBattery       *bool         `json:"on_battery,omitempty"`
	PowerMode       *string       `json:"power_mode,omitempty"`
}

// GPUSample is one look at one GPU.
type GPUSample struct {
	At          time.Duration `json:"t_ns"`
	Index       int           `json:"gpu"` // by its maker's own count
	Vendor      string        `json:"vendor"`
	UsePercent  *float64      `json:"use_percent,omitempty"`
	MemoryUsed  *int64        `json:"memory_used_bytes,omitempty"`
	Clock       *float64      `json:"clock_mhz,omitempty"`
	MemoryClock *float64      `json:"memory_clock_mhz,omitempty"`
	Temperature *float64      `json:"temperature_c,omitempty"`
	Margin      *float64      `json:"temperature_margin_c,omitempty"`
	Power       *float64      `json:"power_w,omitempty"`
	Level       *string       `json:"performance_state,omitempty"`
	PCIeGen     *int          `json:"pcie_gen,omitempty"`
	PCIeWidth   *int          `json:"pcie_width,omitempty"`
	Reasons     []string      `json:"clock_reasons,omitempty"`
	SlowedPower *int64        `json:"slowed_by_power_us,omitempty"`
	SlowedBrake *int64        `json:"slowed_by_brake_us,omitempty"`
	SlowedHeat  *int64        `json:"slowed_by_heat_us,omitempty"`
	HeatCycles  *int64        `json:"slowed_by_heat_cycles,omitempty"`
	Cycles      *int64        `json:"firmware_cycles,omitempty"`
	Energy      *int64        `json:"energy_uj,omitempty"`
}

func sampleOf(at time.Duration, index int, g GPUState) GPUSample {
	return GPUSample{
		At: at, Index: index, Vendor: g.Vendor, UsePercent: g.UsePercent, MemoryUsed: g.MemoryUsed, Clock: g.Clock, MemoryClock: g.MemoryClock,
		Temperature: g.Temperature, Margin: g.Margin, Power: g.Power, Level: g.Level, PCIeGen: g.PCIeGen, PCIeWidth: g.PCIeWidth, Reasons: g.Reasons,
		SlowedPower: g.SlowedPower, SlowedBrake: g.SlowedBrake, SlowedHeat: g.SlowedHeat, HeatCycles: g.HeatCycles, Cycles: g.Cycles, Energy: g.Energy,
	}
}

// Sampler looks at a machine about once a second, on goroutines of its own. The processes that it starts go on printing: two
// nvidia-smi where there is one (for its GPUs, and for who computes on them), or macOS's pmset and powermetrics; macOS's
// notifyutil ends at each change. It shares no lock with anything but its own methods.
type Sampler struct {
	now   func() time.Duration
	every time.Duration
	stop  context.CancelFunc
	done  sync.WaitGroup
	cpus  int           // whose use SystemSample.CPUPercent is of
	cards bool          // there are GPUs beside that of the processor
	first chan struct{} // closed when everything has been looked at once
	base  time.Duration // when that was
	files fs.FS
	self  int // number of this process

	mu        sync.Mutex
	following bool // an nvidia-smi goes on printing
	powering  bool // powermetrics goes on printing, and has printed
	unsure    bool // nvidia-smi has not answered, or has failed: there may be GPUs that nobody sees
	series    Series
	programs  map[int]*program // that compute on NVIDIA's GPUs, by their number
	servers   []int            // processes that serve what is measured
}

// Watch begins to look at a machine. now is the clock of the samples. It ends with ctx, or with Stop.
func (m Machine) Watch(ctx context.Context, now func() time.Duration) *Sampler {
	return watch(ctx, m.source(), now, sampleEvery)
}

func watch(ctx context.Context, s source, now func() time.Duration, every time.Duration) *Sampler {
	ctx, cancel := context.WithCancel(ctx)
	w := &Sampler{now: now, every: every, stop: cancel, first: make(chan struct{}), series: Series{
		Schema: SeriesSchema, EveryMs: every.Milliseconds(), System: []SystemSample{}, GPUs: []GPUSample{}, Reasons: map[string]string{},
	}}
	r := newReader(s)
	w.cpus, w.cards, w.unsure, w.files, w.self = r.cpus, r.cards, true, s.files, thisProcess()
	var looked sync.WaitGroup
	looked.Add(2)
	began := now()
	w.done.Go(func() { w.system(ctx, r, every, looked.Done) })
	w.done.Go(func() { w.nvidia(ctx, s, every, looked.Done) })
	for _, f := range followers() {
		w.done.Go(func() { w.follow(ctx, s, f) })
	}
	if name, args, err := powerOf(every); err == nil && s.follow != nil {
		w.done.Go(func() { w.power(ctx, s, name, args) })
	} else if err != nil && !errors.Is(err, errNoTool) {
		w.why("chip_energy_uj", err)
	}
	w.done.Go(func() {
		looked.Wait()
		w.mu.Lock()
		w.base = min(w.now(), began+readyWithin) // nobody waits longer before something is opened
		w.mu.Unlock()
		close(w.first)
	})
	return w
}

// Ready waits until everything has been looked at once, and not for long.
func (w *Sampler) Ready(ctx context.Context) {
	limit := time.NewTimer(readyWithin)
	defer limit.Stop()
	select {
	case <-w.first:
	case <-limit.C:
	case <-ctx.Done():
	}
}

// Stop ends the watching and gives what was seen. It waits for one more reading of a GPU's power, about as long as the time
// between two, since without it the end of the last stream is not covered. It may be called again.
func (w *Sampler) Stop() Series {
	for began, step := w.now(), w.every/16; w.now()-began < w.every*5/4 && !w.coveredSince(began); {
		time.Sleep(step)
	}
	w.stop()
	w.done.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.series.Users = w.processSamples()
	return w.series
}

// coveredSince says whether no reading of a GPU's power is to be waited for.
func (w *Sampler) coveredSince(when time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.following && !slices.ContainsFunc(w.series.GPUs, func(g GPUSample) bool { return g.Vendor == "nvidia" && g.At > when }) {
		return false
	}
	return !w.powering || slices.ContainsFunc(w.series.System, func(s SystemSample) bool { return s.ChipEnergy != nil && s.At > when })
}

func (w *Sampler) why(part string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.series.Reasons[part] = oneLine(err.Error())
}

// system looks at all that takes no process, until ctx ends.
func (w *Sampler) system(ctx context.Context, r *reader, every time.Duration, looked func()) {
	family := newKin(r.source, w.self)
	take := func() {
		at := w.now()
		sample, gpus := r.look()
		sample.At = at
		w.mu.Lock()
		servers := slices.Clone(w.servers)
		w.mu.Unlock()
		sample.OwnCPUs, sample.OthersPercent = family.look(servers)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.addSystem(sample)
		for i, g := range gpus {
			w.addGPU(sampleOf(at, i, g))
		}
	}
	take()
	if r.energyWhy != "" {
		w.why("cpu_energy_uj", errors.New(r.energyWhy))
	}
	looked()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			take() // what counters say in the end
			return
		case <-tick.C:
			take()
		}
	}
}

// thinned lets every second look of the older half go where there are too many samples. Samples of one look stay together.
func thinned[T any](list []T, most int, at func(*T) time.Duration) []T {
	if len(list) <= most {
		return list
	}
	kept, look := list[:0], 0
	last := at(&list[0])
	for i := range list {
		s := list[i]
		if at(&s) != last {
			look, last = look+1, at(&s)
		}
		if i >= most/2 || look%2 == 0 {
			kept = append(kept, s)
		}
	}
	return kept
}

// addSystem and addGPU keep a sample. The caller holds the lock.
func (w *Sampler) addSystem(s SystemSample) {
	w.series.System = thinned(append(w.series.System, s), maxSamples, func(s *SystemSample) time.Duration { return s.At })
}

func (w *Sampler) addGPU(s GPUSample) {
	w.series.GPUs = thinned(append(w.series.GPUs, s), 4*maxSamples, func(s *GPUSample) time.Duration { return s.At })
}

// nvidia asks nvidia-smi once, then lets one print for as long as the watch lasts.
func (w *Sampler) nvidia(ctx context.Context, s source, every time.Duration, looked func()) {
	fields := append([]string{"index"}, nvidiaSampled...)
	once, cancel := context.WithTimeout(ctx, firstAnswer)
	rows, names, err := s.queryNvidiaNames(once, fields)
	cancel()
	w.enter(rows)
	w.mu.Lock()
	w.unsure = err != nil && !errors.Is(err, errNoTool) && !errors.Is(err, errNoDevices)
	w.mu.Unlock()
	looked()
	if err == nil && s.follow == nil {
		err = errors.New("this machine is a recorded one")
	}
	if err != nil && ctx.Err() != nil {
		err = errors.New("nvidia-smi gave no answer for as long as the run lasted")
	}
	if err != nil {
		if !errors.Is(err, errNoTool) && !errors.Is(err, errNoDevices) {
			w.why("nvidia", err)
		}
		return
	}
	out, err := s.follow(ctx, "nvidia-smi", "--query-gpu="+strings.Join(names, ","), "--format=csv,noheader,nounits", "-lms", strconv.FormatInt(every.Milliseconds(), 10))
	if err != nil {
		w.why("nvidia", err)
		return
	}
	follows := func(on bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.following = on
	}
	follows(true)
	defer follows(false)
	w.done.Go(func() {
		if err := w.apps(ctx, s); err != nil && ctx.Err() == nil {
			w.why("gpu_processes", err)
		}
	})
	err = w.lines(ctx, out, func(line string) error {
		rows, err := parseNvidia(names, line)
		if err == nil {
			renamed(rows, fields)
			w.enter(rows)
		}
		return err
	})
	if ctx.Err() == nil {
		w.why("nvidia", fmt.Errorf("nvidia-smi ended: %w", cmp.Or(err, errBySelf)))
	}
}

// enter keeps rows of nvidia-smi.
func (w *Sampler) enter(rows []nvidiaRow) {
	at := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range rows {
		if n, err := strconv.Atoi(row["index"]); err == nil && n >= 0 && n < 1024 {
			w.addGPU(sampleOf(at, n, row.sampled()))
		}
	}
}

// errBySelf says that a command has ended although nobody had told it to.
var errBySelf = errors.New("by itself, before the run did")

// badLines is how many lines in a row that are not understood end the reading.
const badLines = 8

// lines hands on the lines that a command prints, until it ends, prints rubbish or without a pause, or ctx ends. A command that
// can't be ended, since another user runs it, ends by itself once nobody reads.
func (w *Sampler) lines(ctx context.Context, out io.ReadCloser, take func(string) error) error {
	stop := context.AfterFunc(ctx, func() { _ = out.Close() })
	defer func() {
		if stop() {
			_ = out.Close()
		}
	}()
	scan := bufio.NewScanner(out)
	scan.Buffer(make([]byte, 0, 4096), 64<<10)
	bad := 0
	var rate pace
	for scan.Scan() {
		if err := rate.count(); err != nil {
			return err
		}
		if strings.TrimSpace(scan.Text()) == "" {
			continue
		}
		err := take(scan.Text())
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

// pace counts what a command prints: at some lines a second it costs nothing, at thousands it would take the processor from
// what is measured.
type pace struct {
	began time.Time
	n     int
}

// mostLines is how many lines a second are read; 16 GPUs print 16.
const mostLines = 2000

func (p *pace) count() error {
	if now := time.Now(); now.Sub(p.began) > time.Second {
		p.began, p.n = now, 0
	}
	if p.n++; p.n > mostLines {
		return fmt.Errorf("it printed more than %d lines in a second", mostLines)
	}
	return nil
}

// follower is a command of the system that prints when something changes.
type follower struct {
	part  string // of the series
	name  string
	first []string // arguments that ask how it is now; nil where the command says so itself
	args  []string
	again bool                                    // it ends after each change, and is started anew
	take  func(line string, s *SystemSample) bool // enters what a line says; false where it says nothing
}

// restarts is how long a follower that ends after each change is left alone.
const restarts = time.Second

// follow keeps what such a command says: a sample of its own for each change.
func (w *Sampler) follow(ctx context.Context, s source, f follower) {
	if s.follow == nil {
		return
	}
	said := 0
	take := func(line string) error {
		sample := SystemSample{At: w.now()}
		if f.take(line, &sample) {
			said++
			w.mu.Lock()
			defer w.mu.Unlock()
			w.addSystem(sample)
		}
		return nil
	}
	if f.first != nil && s.run != nil {
		once, cancel := context.WithTimeout(ctx, probeLimit)
		text, _ := s.run(once, f.name, f.first...) // what it does not say now, it says when it changes
		cancel()
		for line := range strings.Lines(text) {
			_ = take(line)
		}
	}
	var err error
	for {
		said = 0
		var out io.ReadCloser
		if out, err = s.follow(ctx, f.name, f.args...); err == nil {
			err = w.lines(ctx, out, take)
		}
		if err != nil || !f.again || said == 0 || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(restarts):
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		w.why(f.part, fmt.Errorf("%s ended: %w", f.name, cmp.Or(err, errBySelf)))
	}
}

// seen gives copies of what there is so far.
func (w *Sampler) seen() (system []SystemSample, gpus []GPUSample, base time.Duration, reasons map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reasons = map[string]string{}
	for k, v := range w.series.Reasons {
		reasons[k] = v
	}
	return slices.Clone(w.series.System), slices.Clone(w.series.GPUs), w.base, reasons
}
