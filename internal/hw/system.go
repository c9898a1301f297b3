package hw

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/host"
)

// parseOSRelease reads name and version of a distribution; empty where they are not there.
func parseOSRelease(text string) (name, version string) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values["ID"], values["VERSION_ID"]
}

func (s source) kernel(context.Context) (func(*Fingerprint, map[string]string), error) {
	version, err := s.kernelVersion()
	if err != nil {
		return nil, err
	}
	return func(fp *Fingerprint, reasons map[string]string) {
		fp.OS.Kernel = known(version, reasons, "os.kernel")
	}, nil
}

// virtualization: Linux shows in files what it runs in; other systems are asked through the library.
func (s source) virtualization(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
	var system string
	var err error
	if runtime.GOOS == "linux" {
		system, err = surroundings(s.files)
	} else {
		var role string
		if system, role, err = host.VirtualizationWithContext(ctx); err == nil && (role != "guest" || system == "") {
			err = errors.New("the system does not tell")
		}
	}
	return func(fp *Fingerprint, _ map[string]string) { fp.Virtualization = &system }, err
}

// containers are words in the names of control groups of containers.
var containers = [][2]string{{"kubepods", "kubernetes"}, {"libpod", "podman"}, {"docker", "docker"}, {"containerd", "containerd"}, {"lxc", "lxc"}}

// hypervisors are words that virtual machines show as their maker or model.
var hypervisors = [][2]string{
	{"qemu", "kvm"}, {"kvm", "kvm"}, {"google compute engine", "kvm"}, {"amazon ec2", "amazon"}, {"openstack", "kvm"}, {"vmware", "vmware"}, {"virtualbox", "virtualbox"},
	{"innotek", "virtualbox"}, {"xen", "xen"}, {"parallels", "parallels"}, {"bochs", "bochs"}, {"microsoft corporation virtual machine", "hyperv"}, {"apple virtualization", "apple"},
}

// surroundings is what Linux runs in, the innermost: a container, WSL, a virtual machine, or "none".
func surroundings(files fs.FS) (string, error) {
	if c := container(files); c != "" {
		return c, nil
	}
	if v := wslVersion(read(files, "proc/version")); v == "1" || v == "2" {
		return "wsl", nil
	}
	model := strings.ToLower(read(files, "sys/class/dmi/id/sys_vendor") + " " + read(files, "sys/class/dmi/id/product_name"))
	for _, h := range hypervisors {
		if strings.Contains(model, h[0]) && !strings.Contains(model, ".metal") { // machines of Amazon's that are let whole
			return h[1], nil
		}
	}
	return hypervisor(files)
}

// container names the kind of container that this process runs in; "" where it runs in none.
func container(files fs.FS) string {
	groups := read(files, "proc/self/cgroup") + read(files, "proc/1/cgroup")
	for _, c := range containers {
		if strings.Contains(groups, c[0]) {
			return c[1]
		}
	}
	for _, mark := range [][2]string{{".dockerenv", "docker"}, {"run/.containerenv", "podman"}} {
		if _, err := fs.Stat(files, mark[0]); err == nil {
			return mark[1]
		}
	}
	return ""
}

// hypervisor looks for the flag that x86 processors show inside a virtual machine; other processors show none.
func hypervisor(files fs.FS) (string, error) {
	for line := range strings.Lines(read(files, "proc/cpuinfo")) {
		key, flags, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != "flags" {
			continue
		}
		for _, flag := range strings.Fields(flags) {
			if flag == "hypervisor" {
				return "hypervisor", nil
			}
		}
		return "none", nil
	}
	return "", errors.New("this processor does not tell")
}
