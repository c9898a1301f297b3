package hw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// appsEvery is how often NVIDIA's tool lists who computes.
const appsEvery = 2 * time.Second

// maxPrograms bounds how many processes are told apart.
const maxPrograms = 256

// program is a process that computes on one of NVIDIA's GPUs. Its name is not asked for; its number stays in this process.
type program struct {
	lineage []int // its number, its parent's and so on, as they were when it was first seen; the number alone where that can't be told
	seen    []time.Duration
}

// ProcessSample is one look at who computes on NVIDIA's GPUs.
type ProcessSample struct {
	At     time.Duration `json:"t_ns"`
	All    int           `json:"all"`
	Others *int          `json:"others,omitempty"` // that are neither this run's nor its server's; absent where that can't be told
}

// Serves tells where the server that is measured listens, so that its processes are not taken for somebody else's. It may be
// called again.
func (w *Sampler) Serves(at string) {
	u, err := url.Parse(at)
	if err != nil {
		return
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return
	}
	pids := listeners(w.files, uint16(port))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pid := range pids {
		if !slices.Contains(w.servers, pid) {
			w.servers = append(w.servers, pid)
		}
	}
}

// apps follows the list of those who compute on NVIDIA's GPUs until ctx ends. A driver that does not tell it (in containers,
// under Windows' display driver) leaves no sample and a reason.
func (w *Sampler) apps(ctx context.Context, s source) error {
	args := []string{"--query-compute-apps=pid", "--format=csv,noheader,nounits"}
	out, err := s.follow(ctx, "nvidia-smi", append(args, "-lms", strconv.FormatInt(appsEvery.Milliseconds(), 10))...)
	if err != nil {
		return err
	}
	err = w.lines(ctx, out, func(line string) error {
		pid, err := strconv.ParseUint(strings.TrimSpace(line), 10, 31)
		if err != nil || pid == 0 {
			return errors.New("nvidia-smi: answer not understood: " + quote(line))
		}
		w.sawProgram(int(pid))
		return nil
	})
	return fmt.Errorf("nvidia-smi's list of who computes ended: %w", cmp.Or(err, errBySelf))
}

func (w *Sampler) sawProgram(pid int) {
	at := w.now()
	w.mu.Lock()
	known := w.programs[pid]
	w.mu.Unlock()
	if known == nil {
		known = &program{lineage: lineage(w.files, pid)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.programs == nil {
		w.programs = map[int]*program{}
	}
	if w.programs[pid] == nil && len(w.programs) >= maxPrograms {
		return
	}
	w.programs[pid] = known
	known.seen = thinned(append(known.seen, at), maxSamples, func(t *time.Duration) time.Duration { return *t })
}

// ours says whether a process is this one, or the server's, or was started by them. The caller holds the lock.
func (w *Sampler) ours(p *program) bool {
	return slices.ContainsFunc(p.lineage, func(pid int) bool { return pid == w.self || slices.Contains(w.servers, pid) })
}

// newcomers looks for programs that began to compute on a GPU after the run had, and were there while streams ran. Those
// that were there before are judged by how busy the GPU was then. Where the server itself is not among those who compute,
// nobody can tell who is who.
func (w *Sampler) newcomers(streams []Span) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	served, others, readings := false, 0, 0
	for _, p := range w.programs {
		if w.ours(p) {
			served = true
			continue
		}
		if p.seen[0] <= w.base+appsEvery {
			continue
		}
		n := 0
		for _, at := range p.seen {
			if within(at, streams) {
				n++
			}
		}
		if n > 0 {
			others, readings = others+1, max(readings, n)
		}
	}
	if !served || others == 0 {
		return ""
	}
	who := "another program"
	if others > 1 {
		who = fmt.Sprintf("%d other programs", others)
	}
	return fmt.Sprintf("%s began to compute on NVIDIA's GPUs after this run had begun, seen in %d readings while streams ran", who, readings)
}

// processSamples makes the series of who computed, a sample for each look. The caller holds the lock.
func (w *Sampler) processSamples() []ProcessSample {
	type mark struct {
		at   time.Duration
		pid  int
		ours bool
	}
	var marks []mark
	served := false
	for pid, p := range w.programs {
		own := w.ours(p)
		served = served || own
		for _, at := range p.seen {
			marks = append(marks, mark{at, pid, own})
		}
	}
	slices.SortFunc(marks, func(a, b mark) int { return int(a.at - b.at) })
	list := []ProcessSample{}
	var seen []int
	for _, m := range marks {
		if n := len(list); n == 0 || m.at-list[n-1].At > appsEvery/2 {
			list, seen = append(list, ProcessSample{At: m.at}), nil
			if served {
				list[n].Others = new(int)
			}
		}
		last := &list[len(list)-1]
		if slices.Contains(seen, m.pid) { // on several GPUs
			continue
		}
		seen = append(seen, m.pid)
		if last.All++; served && !m.ours {
			*last.Others++
		}
	}
	return list
}

// lineage is a process and its ancestors, as Linux shows them.
func lineage(files fs.FS, pid int) []int {
	list := []int{pid}
	for len(list) < 64 {
		// The name in brackets may hold anything; what follows it does not.
		stat := read(files, "proc/"+strconv.Itoa(pid)+"/stat")
		rest := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		if len(rest) < 2 {
			break
		}
		parent, err := strconv.Atoi(rest[1])
		if err != nil || parent <= 1 || slices.Contains(list, parent) {
			break
		}
		list, pid = append(list, parent), parent
	}
	return list
}

// maxListed bounds how many processes are looked through for a socket.
const maxListed = 8192

// listeners are the processes that listen on a TCP port, as far as this user may look into them; Linux alone shows it.
func listeners(files fs.FS, port uint16) []int {
	sockets := map[string]bool{}
	for _, table := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		for line := range strings.Lines(read(files, table)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // listening
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil && uint16(n) == port {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return nil
	}
	list, err := fs.ReadDir(files, "proc")
	if err != nil {
		return nil
	}
	var pids []int
	looked := 0
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if looked++; looked > maxListed {
			break
		}
		dir := path.Join("proc", e.Name(), "fd")
		handles, err := fs.ReadDir(files, dir)
		if err != nil {
			continue // another user's
		}
		for _, h := range handles {
			if to, err := fs.ReadLink(files, path.Join(dir, h.Name())); err == nil && sockets[to] {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}
