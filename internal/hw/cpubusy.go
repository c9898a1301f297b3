package hw

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What others' use of the processors is taken for a sign of.
const (
	othersBusy = 20.0 // percent of the CPUs, mean while streams ran; a browser that idles takes a few
	leastOwn   = 0.05 // CPUs' worth that a server takes while it answers: one below it only hands on what another process makes
)

// kin tells the CPU time of this run, of the server that it measures and of what both started from that of all others.
// Linux alone shows it at a cost that may be paid every second: one stat file for each process of ours, and one for each that
// is new.
type kin struct {
	files   fs.FS
	self    int
	allowed []string // names in proc/stat of the CPUs that this process may use; nil: all
	limited bool     // by a quota: what others do with the CPUs beside it says nothing

	servers     []int        // that ours was judged by
	ours        map[int]bool // of every process there is
	own         float64      // ticks of ours at the look before
	busy, total float64      // ticks of the CPUs at the look before
	primed      bool
}

func newKin(s source, self int) *kin {
	k := &kin{files: s.files, self: self}
	quota, _ := cgroupLimits(s.files)
	k.limited = quota != nil
	for line := range strings.Lines(read(s.files, "proc/self/status")) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			k.allowed = cpuNames(strings.TrimSpace(list))
		}
	}
	return k
}

// cpuNames turns a list as 0-3,8 into cpu0 to cpu3 and cpu8; nil where it is no such list.
func cpuNames(list string) []string {
	var names []string
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err := strconv.ParseUint(from, 10, 16)
		b, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil || b < a || len(names) > 1<<12 {
			return nil
		}
		for n := a; n <= b; n++ {
			names = append(names, "cpu"+strconv.FormatUint(n, 10))
		}
	}
	return names
}

// look gives, since the look before, how many CPUs' worth of time was ours and which share of the allowed CPUs' time others
// used, in percent; nil at the first look, where no server of this machine is known, or where counters went back.
func (k *kin) look(servers []int) (own, others *float64) {
	if k.limited || len(servers) == 0 {
		k.primed = false
		return nil, nil
	}
	if !slices.Equal(servers, k.servers) {
		k.servers, k.ours, k.primed = slices.Clone(servers), nil, false
	}
	mine, ok := k.ticks()
	busy, total, cpus := k.machine()
	was, wasBusy, wasTotal, primed := k.own, k.busy, k.total, k.primed
	k.own, k.busy, k.total, k.primed = mine, busy, total, ok && cpus > 0
	span := total - wasTotal
	if !primed || !k.primed || span <= 0 || busy < wasBusy || mine < was {
		return nil, nil
	}
	ownCPUs := (mine - was) / span * float64(cpus)
	share := max(0, busy-wasBusy-(mine-was)) / span * 100
	return &ownCPUs, &share
}

// ticks sums up the CPU time of ours, what their children that have ended took included, so that a child's end changes
// nothing.
func (k *kin) ticks() (sum float64, ok bool) {
	list, err := fs.ReadDir(k.files, "proc")
	if err != nil {
		return 0, false
	}
	there := make(map[int]bool, len(k.ours)+8)
	for _, e := range list {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 0 {
			there[pid] = false
		}
	}
	if len(there) > maxListed {
		return 0, false
	}
	for pid := range there {
		if known, seen := k.ours[pid]; seen {
			there[pid] = known
		} else {
			there[pid] = k.judge(pid, 0)
		}
	}
	k.ours = there
	for pid, mine := range there {
		if !mine {
			continue
		}
		if f := statFields(k.files, pid); len(f) >= 15 {
			for _, ticks := range f[11:15] { // utime, stime, cutime, cstime
				sum += number(ticks)
			}
			ok = true
		}
	}
	return sum, ok
}

// judge says whether a process is this one, a server, or was started by one of ours.
func (k *kin) judge(pid, depth int) bool {
	if pid == k.self || slices.Contains(k.servers, pid) {
		return true
	}
	if known, seen := k.ours[pid]; seen {
		return known
	}
	f := statFields(k.files, pid)
	if len(f) < 2 || depth > 64 {
		return false
	}
	parent, err := strconv.Atoi(f[1])
	return err == nil && parent > 1 && k.judge(parent, depth+1)
}

// statFields are those of a process's stat that follow its name, which may hold anything: the first is its state.
func statFields(files fs.FS, pid int) []string {
	stat := read(files, "proc/"+strconv.Itoa(pid)+"/stat")
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
}

// machine gives the used and all time of the CPUs that this process may use, in ticks. What a hypervisor took counts as used.
func (k *kin) machine() (busy, total float64, cpus int) {
	for line := range strings.Lines(read(k.files, "proc/stat")) {
		name, rest, _ := strings.Cut(line, " ")
		if number, ok := strings.CutPrefix(name, "cpu"); !ok || number == "" || k.allowed != nil && !slices.Contains(k.allowed, name) {
			continue
		}
		f := strings.Fields(rest)
		if len(f) < 5 {
			continue
		}
		cpus++
		for i, text := range f[:min(len(f), 8)] { // guest time is in user time already
			n := number(text)
			total += n
			if i != 3 && i != 4 { // idle, and waiting for a disk
				busy += n
			}
		}
	}
	return busy, total, cpus
}

// busyCPU says how much of the processors others used while streams ran. Each reading looks back to the one before and weighs
// as much as of it was a stream's. Where the server's processes are not known, or do next to nothing while it answers, as those
// of a forwarded port, nobody can tell who is who.
func busyCPU(system []SystemSample, streams []Span) string {
	var seconds, own, others, most float64
	readings := 0
	var before time.Duration
	for i, s := range system {
		from := before
		if s.OthersPercent != nil || s.CPUPercent != nil {
			before = s.At
		}
		if s.OthersPercent == nil || s.OwnCPUs == nil || i == 0 {
			continue
		}
		part := overlap(Span{from, s.At}, streams).Seconds()
		if part <= 0 {
			continue
		}
		readings++
		seconds, own, others, most = seconds+part, own+part**s.OwnCPUs, others+part**s.OthersPercent, max(most, *s.OthersPercent)
	}
	if readings == 0 || own/seconds < leastOwn || others/seconds <= othersBusy {
		return ""
	}
	return fmt.Sprintf("other programs used %.0f %% of the CPUs while streams ran (mean of %d readings, at most %.0f %%)", others/seconds, readings, most)
}

// overlap is how much of a span lies within others, which may overlap one another.
func overlap(s Span, others []Span) time.Duration {
	sorted := slices.SortedFunc(slices.Values(others), func(a, b Span) int { return int(a.From - b.From) })
	var sum time.Duration
	at := s.From
	for _, o := range sorted {
		from, to := max(at, o.From), min(s.To, o.To)
		if to > from {
			sum += to - from
			at = to
		}
	}
	return sum
}
