package hw

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// nvidiaStatic are the fields that a Fingerprint takes from nvidia-smi; those after a bar are other names of the first, which
// older drivers have, or newer ones will have alone.
var nvidiaStatic = []string{
	"name", "uuid", "pci.bus_id", "driver_version|kmd_version", "vbios_version", "compute_cap", "memory.total", "persistence_mode",
	"mig.mode.current", "ecc.mode.current", "driver_model.current", "power.limit", "enforced.power.limit", "power.default_limit",
	"power.max_limit", "clocks.max.sm", "clocks.max.memory", "clocks.applications.graphics", "pcie.link.gen.max", "pcie.link.width.max",
}

// nvidiaRow is what nvidia-smi says of one GPU, by field.
type nvidiaRow map[string]string

// errNoDevices is what nvidia-smi says where the driver has no GPU.
var errNoDevices = errors.New("no devices were found")

// queryNvidia asks nvidia-smi for fields. One field that a driver does not know fails the whole query: then those that its
// help lists are asked for.
func (s source) queryNvidia(ctx context.Context, fields []string) ([]nvidiaRow, error) {
	rows, _, err := s.queryNvidiaNames(ctx, fields)
	return rows, err
}

// queryNvidiaNames is queryNvidia, which also gives the names that this driver has answered to.
func (s source) queryNvidiaNames(ctx context.Context, fields []string) ([]nvidiaRow, []string, error) {
	names := firstNames(fields)
	rows, err := s.nvidiaOnce(ctx, names)
	if err == nil || !errors.Is(err, errField) {
		return rows, names, err
	}
	help, helpErr := s.run(ctx, "nvidia-smi", "--help-query-gpu")
	listed := pickFields(help, fields)
	if len(listed) == 0 {
		return nil, nil, errors.Join(err, helpErr)
	}
	rows, err = s.nvidiaOnce(ctx, listed)
	renamed(rows, fields)
	return rows, listed, err
}

// renamed puts what another name has answered under the name that is asked for.
func renamed(rows []nvidiaRow, fields []string) {
	for _, row := range rows {
		for _, f := range fields {
			names := strings.Split(f, "|")
			for _, alias := range names[1:] {
				if v, ok := row[alias]; ok {
					row[names[0]] = v
				}
			}
		}
	}
}

// errField is nvidia-smi's word on a field that it does not know.
var errField = errors.New("a field is not known")

func (s source) nvidiaOnce(ctx context.Context, names []string) ([]nvidiaRow, error) {
	out, err := s.run(ctx, "nvidia-smi", "--query-gpu="+strings.Join(names, ","), "--format=csv,noheader,nounits")
	switch {
	case strings.Contains(out, "No devices were found"):
		return nil, errNoDevices
	case strings.Contains(out, "not a valid field"):
		return nil, fmt.Errorf("nvidia-smi: %w: %s", errField, quote(out))
	case err == nil && strings.TrimSpace(out) == "":
		return nil, errors.New("nvidia-smi: answer not understood: it is empty")
	case err != nil && out != "":
		return nil, fmt.Errorf("nvidia-smi: %w: %s", err, quote(out))
	case err != nil:
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	rows, err := parseNvidia(names, out)
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	return rows, nil
}

func firstNames(fields []string) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i], _, _ = strings.Cut(f, "|")
	}
	return names
}

// listedField is how nvidia-smi's help lists a field: on a line of its own, in quotes, aliases behind an "or".
var listedField = regexp.MustCompile(`"([a-z0-9_.]+)"`)

// pickFields gives the names of fields that the help of nvidia-smi lists, the first name of each that it knows.
func pickFields(help string, fields []string) []string {
	listed := map[string]bool{}
	for line := range strings.Lines(help) {
		if strings.HasPrefix(line, `"`) {
			for _, m := range listedField.FindAllStringSubmatch(line, -1) {
				listed[m[1]] = true
			}
		}
	}
	var names []string
	for _, f := range fields {
		if i := slices.IndexFunc(strings.Split(f, "|"), func(n string) bool { return listed[n] }); i >= 0 {
			names = append(names, strings.Split(f, "|")[i])
		}
	}
	return names
}

// parseNvidia understands the answer of nvidia-smi: one line a GPU, in the order of the names.
func parseNvidia(names []string, text string) ([]nvidiaRow, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("answer not understood: %w", err)
	}
	rows := make([]nvidiaRow, len(lines))
	for i, line := range lines {
		// Commas in a GPU's name stand there with quotes around it or without.
		if more := len(line) - len(names); more > 0 && names[0] == "name" {
			line = append([]string{strings.Join(line[:more+1], ", ")}, line[more+1:]...)
		}
		if len(line) != len(names) {
			return nil, fmt.Errorf("answer not understood: %d fields in place of %d: %s", len(line), len(names), quote(text))
		}
		rows[i] = nvidiaRow{}
		for j, name := range names {
			rows[i][name] = strings.TrimSpace(line[j])
		}
	}
	return rows, nil
}

// value gives a field's value, or why there is none: [N/A], [Not Supported] and the like are the tool's words for that.
func (r nvidiaRow) value(field string) (value, why string) {
	v, asked := r[field]
	switch {
	case !asked:
		return "", "this driver's nvidia-smi does not know the field " + field
	case v == "":
		return "", "nvidia-smi says nothing"
	case v == "N/A" || v[0] == '[':
		return "", "nvidia-smi says " + v
	}
	return v, ""
}

func (r nvidiaRow) text(field string, why map[string]string, key string) *string {
	v, no := r.value(field)
	if no != "" {
		why[key] = no
		return nil
	}
	return &v
}

func (r nvidiaRow) float(field string, why map[string]string, key string) *float64 {
	v, no := r.value(field)
	if no == "" {
		if n, ok := amount(v); ok {
			return &n
		}
		no = "nvidia-smi says " + quote(v)
	}
	why[key] = no
	return nil
}

// positive is a float for which 0 means that it is not known.
func (r nvidiaRow) positive(field string, why map[string]string, key string) *float64 {
	n := r.float(field, why, key)
	if n != nil && *n == 0 {
		why[key] = "nvidia-smi says 0"
		return nil
	}
	return n
}

func (r nvidiaRow) count(field string, why map[string]string, key string) *int {
	if n := r.positive(field, why, key); n != nil && *n < 1<<30 {
		return some(int(*n))
	}
	if why[key] == "" {
		why[key] = "nvidia-smi says a number that can't be"
	}
	return nil
}

func (r nvidiaRow) bytes(field string, why map[string]string, key string) *int64 {
	n := r.float(field, why, key)
	if n == nil {
		return nil
	}
	if *n > 1<<40 {
		why[key] = "nvidia-smi says a number that can't be"
		return nil
	}
	b := int64(*n) << 20
	return &b
}

func (r nvidiaRow) state(field string, why map[string]string, key string) *bool {
	v, no := r.value(field)
	on, off := true, false
	switch {
	case no != "":
	case v == "Enabled" || v == "Active":
		return &on
	case v == "Disabled" || v == "Not Active":
		return &off
	default:
		no = "nvidia-smi says " + quote(v)
	}
	why[key] = no
	return nil
}

// gpu reads a row of nvidiaStatic.
func (r nvidiaRow) gpu() (GPU, error) {
	name, no := r.value("name")
	if no != "" {
		return GPU{}, errors.New("answer not understood: a GPU without a name")
	}
	why := map[string]string{"shared_total_bytes": "nvidia-smi does not tell", "cores": "nvidia-smi does not tell"}
	g := GPU{Vendor: "nvidia", Name: name, why: why}
	g.VRAMTotal = r.bytes("memory.total", why, "vram_total_bytes")
	if g.VRAMTotal != nil && *g.VRAMTotal == 0 {
		g.VRAMTotal, why["vram_total_bytes"] = nil, "nvidia-smi says 0"
	}
	g.Driver = r.text("driver_version", why, "driver")
	g.DriverModel = r.text("driver_model.current", why, "driver_model")
	g.VBIOS = r.text("vbios_version", why, "vbios")
	g.Architecture = r.text("compute_cap", why, "architecture")
	g.PowerLimit = r.positive("power.limit", why, "power_limit_w")
	g.PowerEnforced = r.positive("enforced.power.limit", why, "power_enforced_w")
	g.PowerDefault = r.positive("power.default_limit", why, "power_default_w")
	g.PowerMax = r.positive("power.max_limit", why, "power_max_w")
	g.ClockMax = r.positive("clocks.max.sm", why, "clock_max_mhz")
	g.ClockApp = r.positive("clocks.applications.graphics", why, "clock_application_mhz")
	g.MemoryClock = r.positive("clocks.max.memory", why, "memory_clock_max_mhz")
	g.PCIeGen = r.count("pcie.link.gen.max", why, "pcie_gen_max")
	g.PCIeWidth = r.count("pcie.link.width.max", why, "pcie_width_max")
	g.MIG = r.state("mig.mode.current", why, "mig")
	g.ECC = r.state("ecc.mode.current", why, "ecc")
	g.Persistence = r.state("persistence_mode", why, "persistence")
	g.UUID, _ = r.value("uuid")
	bus, _ := r.value("pci.bus_id")
	g.BusID = busID(bus)
	return g, nil
}

// busID brings a PCI address to one form: nvidia-smi writes the domain with 8 digits, Linux with 4.
func busID(text string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	if domain, rest, ok := strings.Cut(text, ":"); ok && len(domain) == 8 && strings.HasPrefix(domain, "0000") {
		return domain[4:] + ":" + rest
	}
	return text
}

// cudaVersion finds the version that `nvidia-smi --version` and the plain table show; "" where they show none. Since driver 610
// it has another name, and the old one says that it is deprecated.
func cudaVersion(text string) string {
	if m := cudaPattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

var cudaPattern = regexp.MustCompile(`(?i)CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)`)

// nvidia lists NVIDIA GPUs, and the CUDA version of their driver. Where nvidia-smi fails, the names that the driver shows are
// all there is, and the fields' reasons say so. No nvidia-smi and no driver is no error.
func (s source) nvidia(ctx context.Context) (list []GPU, cuda string, err error) {
	// A driver that has to wake up first takes seconds; then the names below are still in time.
	var version string
	var wg sync.WaitGroup
	wg.Go(func() {
		out, err := s.run(ctx, "nvidia-smi", "--version")
		if version = cudaVersion(out); version == "" && err != nil && !errors.Is(err, errNoTool) && ctx.Err() == nil {
			out, _ = s.run(ctx, "nvidia-smi") // before --version was there
			version = cudaVersion(out)
		}
	})
	rows, err := s.queryNvidia(ctx, nvidiaStatic)
	for _, row := range rows {
		g, gpuErr := row.gpu()
		if gpuErr != nil {
			err, list = fmt.Errorf("nvidia-smi: %w", gpuErr), nil
			break
		}
		list = append(list, g)
	}
	s.migInstances(ctx, list)
	wg.Wait()
	if errors.Is(err, errNoDevices) {
		return nil, version, nil
	}
	if err == nil {
		return list, version, nil
	}
	list = nvidiaNames(s.files)
	for i := range list {
		list[i].why = map[string]string{}
		for _, field := range nulls(list[i]) {
			list[i].why[field] = err.Error()
		}
	}
	// Where the tool has failed, it may answer the next time: then the machine would be another one.
	if errors.Is(err, errNoTool) {
		err = nil
	}
	return list, version, err
}

// migInstances finds out into what the GPUs that are cut have been cut: a model on a part of one is another thing than a model
// on all of it. No field of the query tells it.
func (s source) migInstances(ctx context.Context, list []GPU) {
	if !slices.ContainsFunc(list, func(g GPU) bool { return g.MIG != nil && *g.MIG }) {
		return
	}
	out, err := s.run(ctx, "nvidia-smi", "-L")
	found := parseInstances(out)
	for i := range list {
		g := &list[i]
		if g.MIG == nil || !*g.MIG {
			continue
		}
		if g.Instances = found[g.UUID]; g.Instances == nil {
			g.why["mig_instances"] = "nvidia-smi -L lists none"
			if err != nil {
				g.why["mig_instances"] = "nvidia-smi -L: " + err.Error()
			}
		}
	}
}

var (
	listedGPU      = regexp.MustCompile(`^GPU \d+: .*\(UUID: (GPU-[^)\s]+)\)`)
	listedInstance = regexp.MustCompile(`^\s+MIG (\S+)\s+Device\s+\d+:`)
)

// maxInstances bounds how many instances of a GPU are kept; there are 7 at most.
const maxInstances = 64

// parseInstances understands `nvidia-smi -L`: the profiles of each GPU's instances, by its UUID.
func parseInstances(text string) map[string][]string {
	found := map[string][]string{}
	uuid := ""
	for line := range strings.Lines(text) {
		if m := listedGPU.FindStringSubmatch(line); m != nil {
			uuid = m[1]
		} else if m := listedInstance.FindStringSubmatch(line); m != nil && uuid != "" && len(found[uuid]) < maxInstances && len(m[1]) <= 32 {
			found[uuid] = append(found[uuid], strings.ToValidUTF8(m[1], "?"))
		}
	}
	return found
}

// nvidiaNames reads the names that the driver itself shows on Linux.
func nvidiaNames(files fs.FS) []GPU {
	infos, err := fs.Glob(files, "proc/driver/nvidia/gpus/*/information")
	if err != nil {
		return nil
	}
	var list []GPU
	for _, info := range infos {
		for line := range strings.Lines(read(files, info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && key == "Model" && strings.TrimSpace(value) != "" {
				list = append(list, GPU{Vendor: "nvidia", Name: strings.TrimSpace(value)})
			}
		}
	}
	return list
}
