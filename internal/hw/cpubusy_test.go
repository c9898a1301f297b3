package hw

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// shared is a machine of two CPUs that were used for busy and idle for the rest of total ticks, with processes by number:
// 1 starts 50 (this one) and 90; 90 starts the server 100, which starts 101; 200 is somebody else's.
func shared(busy, total int, ticks map[int]string) source {
	files := map[string]string{
		"proc/stat": fmt.Sprintf("cpu  1 2 3 4 5 6 7 8\ncpu0 %d 0 0 %d 0 0 0 0 0 0\ncpu1 0 0 0 %d 0 0 0 0 0 0\nintr 7\n", busy, total/2-busy, total/2),
	}
	parents := map[int]int{1: 0, 50: 1, 51: 50, 90: 1, 100: 90, 101: 100, 200: 1}
	for pid, t := range ticks {
		files[fmt.Sprintf("proc/%d/stat", pid)] = fmt.Sprintf("%d (a) b) S %d 1 1 0 -1 4194304 10 20 30 40 %s 20 0 1 0 5 6 7", pid, parents[pid], t)
	}
	return source{files: tree(files)}
}

func TestKin(t *testing.T) {
	type look struct {
		busy, total int
		ticks       map[int]string
		servers     []int
		own, others float64 // -1: not known
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"ours and others", []look{
			{100, 1000, map[int]string{1: "9 9 0 0", 50: "5 0 0 0", 90: "1 1 0 0", 100: "10 10 0 0", 101: "0 0 0 0", 200: "40 0 0 0"}, []int{100}, -1, -1},
			// 200 ticks later 150 of them were used: 10 by this process, 60 and 30 by the server and its worker.
			{250, 1200, map[int]string{1: "9 9 0 0", 50: "10 5 0 0", 90: "1 1 0 0", 100: "50 30 0 0", 101: "20 10 0 0", 200: "90 0 0 0"}, []int{100}, 1, 25},
		}},
		{"a child ends, and another begins", []look{
			{100, 1000, map[int]string{50: "5 0 0 0", 51: "20 0 0 0", 100: "0 0 0 0"}, []int{100}, -1, -1},
			{140, 1200, map[int]string{50: "5 0 30 0", 100: "0 0 0 0", 101: "30 0 0 0"}, []int{100}, 0.4, 0},
		}},
		{"no server is known", []look{
			{100, 1000, map[int]string{50: "5 0 0 0"}, nil, -1, -1},
			{250, 1200, map[int]string{50: "10 0 0 0"}, nil, -1, -1},
		}},
		{"a server becomes known", []look{
			{100, 1000, map[int]string{50: "5 0 0 0", 100: "500 0 0 0"}, nil, -1, -1},
			{200, 1200, map[int]string{50: "5 0 0 0", 100: "600 0 0 0"}, []int{100}, -1, -1},
			{300, 1400, map[int]string{50: "5 0 0 0", 100: "650 0 0 0"}, []int{100}, 0.5, 25},
		}},
		{"the server is gone", []look{
			{100, 1000, map[int]string{50: "5 0 0 0", 100: "500 0 0 0"}, []int{100}, -1, -1},
			{200, 1200, map[int]string{50: "5 0 0 0"}, []int{100}, -1, -1},
		}},
		{"counters stand still", []look{
			{100, 1000, map[int]string{50: "5 0 0 0", 100: "5 0 0 0"}, []int{100}, -1, -1},
			{100, 1000, map[int]string{50: "5 0 0 0", 100: "5 0 0 0"}, []int{100}, -1, -1},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKin(shared(0, 2, nil), 50)
			for i, l := range c.looks {
				k.files = shared(l.busy, l.total, l.ticks).files
				own, others := k.look(l.servers)
				if got := orMinus(own); math.Abs(got-l.own) > 1e-9 {
					t.Errorf("look %d: %v CPUs are ours, want %v", i, got, l.own)
				}
				if got := orMinus(others); math.Abs(got-l.others) > 1e-9 {
					t.Errorf("look %d: others use %v %%, want %v", i, got, l.others)
				}
			}
		})
	}
	if k := newKin(source{files: tree(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"})}, 50); !k.limited {
		t.Error("a quota is not seen")
	}
}

func orMinus(v *float64) float64 {
	if v == nil {
		return -1
	}
	return *v
}

func TestCPUNames(t *testing.T) {
	for list, want := range map[string][]string{
		"0-2,8": {"cpu0", "cpu1", "cpu2", "cpu8"}, "5": {"cpu5"}, "": nil, "3-1": nil, "x": nil, "0-99999999": nil, "0-": nil, "0-65535,0-65535,0": nil,
	} {
		if got := cpuNames(list); !slices.Equal(got, want) {
			t.Errorf("%q: %v", list, got)
		}
	}
}

// Only the CPUs that this process may use count.
func TestAllowedCPUs(t *testing.T) {
	files := tree(map[string]string{
		"proc/self/status": "Name:\tx\nCpus_allowed:\t2\nCpus_allowed_list:\t1\n",
		"proc/stat":        "cpu  9 9 9 9 9\ncpu0 100 0 0 0 0\ncpu1 10 5 5 70 10 0 0 5\ncpu10 100 0 0 0 0\n",
	})
	busy, total, cpus := newKin(source{files: files}, 1).machine()
	if busy != 25 || total != 105 || cpus != 1 {
		t.Errorf("%v of %v on %d", busy, total, cpus)
	}
}

func TestBusyCPU(t *testing.T) {
	series := func(own float64, others ...float64) []SystemSample {
		return seconds(others, func(at time.Duration, v float64) SystemSample {
			s := SystemSample{At: at, CPUPercent: is(90.0)}
			if v >= 0 {
				s.OwnCPUs, s.OthersPercent = &own, &v
			}
			return s
		})
	}
	for _, c := range []struct {
		name   string
		system []SystemSample
		want   string
	}{
		// streams run from 3.2 s to 6.8 s: the readings of 4 (0.8 s of it), 5, 6 and 7 (0.8 s) look back on them.
		{"others work", series(1, 0, 0, 0, 0, 50, 50, 50, 50, 0), "other programs used 50 % of the CPUs while streams ran (mean of 4 readings, at most 50 %)"},
		{"others work at the end", series(1, 0, 0, 0, 0, 0, 0, 0, 100, 0), "other programs used 22 % of the CPUs while streams ran (mean of 4 readings, at most 100 %)"},
		{"others work before and after", series(1, 99, 99, 99, 99, 0, 0, 0, 0, 99), ""},
		{"little", series(1, 0, 0, 0, 0, 19, 19, 19, 19, 0), ""},
		{"who serves does not compute", series(0.01, 0, 0, 0, 0, 80, 80, 80, 80, 80), ""},
		{"not known", series(1, -1, -1, -1, -1, -1, -1, -1, -1), ""},
		{"known for a part", series(1, -1, -1, -1, -1, -1, 60, -1, -1), "other programs used 60 % of the CPUs while streams ran (mean of 1 readings, at most 60 %)"},
		{"nothing seen", nil, ""},
	} {
		if got := busyCPU(c.system, streams); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOverlap(t *testing.T) {
	others := []Span{{8, 12}, {2, 5}, {4, 6}, {3, 4}}
	for s, want := range map[Span]time.Duration{{0, 20}: 8, {5, 9}: 2, {6, 8}: 0, {3, 4}: 1, {20, 30}: 0} {
		if got := overlap(s, others); got != want {
			t.Errorf("%v: %v, want %v", s, got, want)
		}
	}
}
