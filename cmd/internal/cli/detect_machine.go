package cli

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/hw"
	"github.com/llm-speed/llm-speed/internal/report"
)

// machineSeen is what detect says of the machine.
type machineSeen struct {
	Fingerprint json.RawMessage `json:"fingerprint"`
	State       json.RawMessage `json:"state"`
	GPUBusIDs   []string        `json:"gpu_bus_ids"` // of the fingerprint's GPUs, "" where not known; no result has them
	raw         hw.Raw
}

// seeMachine looks at the machine; on Linux within a second.
func (a *app) seeMachine(ctx context.Context) (machineSeen, error) {
	fp, state, raw := a.machine().Record(ctx)
	m := machineSeen{raw: raw, GPUBusIDs: []string{}}
	for _, g := range fp.GPUs {
		m.GPUBusIDs = append(m.GPUBusIDs, g.BusID)
	}
	var err error
	if m.Fingerprint, err = json.Marshal(fp); err == nil {
		m.State, err = json.Marshal(state)
	}
	if err != nil {
		return m, fmt.Errorf("describe the machine: %w", err)
	}
	return m, nil
}

// machinePage shows the machine to a person.
func (a *app) machinePage(m machineSeen) error {
	return report.Machine(a.Stdout, m.Fingerprint, m.State, a.style())
}

// leastFold is the narrowest column that text is folded to.
const leastFold = 20

// fold breaks a text at spaces, so that with an indent it fits the terminal. What is no terminal gets it in one line.
func (a *app) fold(text string, indent int) []string {
	if !a.OutTTY || a.Width == nil || a.Width() <= 0 {
		return []string{text}
	}
	return folded(text, max(a.Width()-indent, leastFold))
}

// bundle writes what a bug report needs into one file: what detect says, and the raw answers that it rests on. It is always
// redacted; doc is the document of detect --json.
func (a *app) bundle(file string, m machineSeen, doc any) error {
	pack, err := packer(file)
	if err != nil {
		return err
	}
	r := a.redaction()
	var page bytes.Buffer
	if err := report.Machine(&page, m.Fingerprint, m.State, report.Style{Width: 100}); err != nil {
		return err
	}
	indented := func(v any) ([]byte, error) {
		b, err := json.MarshalIndent(v, "", "  ")
		return append(b, '\n'), err
	}
	detect, err := indented(doc)
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	client, err := indented(a.client())
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	files := []packed{
		{"README.txt", []byte(bundleReadme)}, {"machine.txt", page.Bytes()}, {"detect.json", detect}, {"client.json", client}, {"environment.txt", []byte(a.variables())}, {"files.txt", []byte(m.raw.Files)},
	}
	for i, c := range m.raw.Commands {
		text := "$ " + c.Line + "\n" + c.Output
		if c.Err != "" {
			text = strings.TrimRight(text, "\n") + "\n(" + c.Err + ")\n"
		}
		name, _, _ := strings.Cut(c.Line, " ")
		files = append(files, packed{fmt.Sprintf("commands/%02d-%s.txt", i+1, strings.TrimSuffix(name, ".exe")), []byte(text)})
	}
	for i, f := range files {
		redact := r.text
		if f.name == "files.txt" || strings.HasPrefix(f.name, "commands/") {
			redact = r.raw
		}
		files[i].data = []byte(redact(string(f.data)))
	}
	var out bytes.Buffer
	if err := pack(&out, files); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	a.errf("written: %s (%s, %d bytes); look through it before you send it\n", file, report.Count(len(files), "file"), out.Len())
	return nil
}

const bundleReadme = `This is what "llm-speed detect --bundle" saw, for a bug report.

machine.txt      the machine as detect shows it
detect.json      the machine and its backends, as detect --json has them
client.json      the program
environment.txt  variables that choose GPUs, folders and servers
files.txt        files of the system that were read, each under its path
commands/        commands that were run, and what they printed

Names of users and hosts, home folders, serial numbers, UUIDs, and addresses of
hardware and network were taken out; a word in round brackets stands for each.
Please look through it before you send it.
`

// Variables that a bug report needs: which GPUs a server may use, and where models and servers are looked for. Of proxies only
// that they are set is told: their addresses are somebody's network.
var (
	toldVariables = []string{
		"CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION",
		"GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR", "ZE_AFFINITY_MASK", "OMP_NUM_THREADS", "ROCM_PATH", "CUDA_PATH",
		"OLLAMA_HOST", "OLLAMA_MODELS", "LLAMA_CACHE", "HF_HOME", "HF_HUB_CACHE", "VIRTUAL_ENV", "LLM_SPEED_DATA", "LLM_SPEED_PYTHON", "LANG", "TERM",
	}
	setVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)

// variables lists those that are set.
func (a *app) variables() string {
	var b strings.Builder
	for _, name := range toldVariables {
		if v := a.Env(name); v != "" {
			fmt.Fprintf(&b, "%s=%s\n", name, v)
		}
	}
	for _, name := range setVariables {
		if a.Env(name) != "" {
			fmt.Fprintf(&b, "%s is set\n", name)
		}
	}
	if b.Len() == 0 {
		return "none of those that matter is set\n"
	}
	return b.String()
}

// packed is a file of a bundle.
type packed struct {
	name string
	data []byte
}

// packer tells by a file's name how it is packed.
func packer(file string) (func(io.Writer, []packed) error, error) {
	switch low := strings.ToLower(file); {
	case strings.HasSuffix(low, ".zip"):
		return packZip, nil
	case strings.HasSuffix(low, ".tar.gz"), strings.HasSuffix(low, ".tgz"):
		return packTar, nil
	}
	return nil, usagef("--bundle %s: want a name that ends in .zip or .tar.gz", file)
}

func packZip(w io.Writer, files []packed) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		to, err := z.Create("llm-speed-detect/" + f.name)
		if err != nil {
			return err
		}
		if _, err := to.Write(f.data); err != nil {
			return err
		}
	}
	return z.Close()
}

func packTar(w io.Writer, files []packed) error {
	zip := gzip.NewWriter(w)
	t := tar.NewWriter(zip)
	for _, f := range files {
		err := t.WriteHeader(&tar.Header{Name: "llm-speed-detect/" + f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Now()})
		if err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), zip.Close())
}
