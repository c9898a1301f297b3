package cli

import (
	"strings"
	"testing"
)

func TestRedaction(t *testing.T) {
	env := map[string]string{"USER": "annaperson", "HOSTNAME": "annas-tower", "COMPUTERNAME": "DESKTOP-ANNA1"}
	a := &app{&Process{Env: func(k string) string { return env[k] }, Home: func() string { return "/home/annaperson" }}}
	r := a.redaction()
	for _, c := range []struct{ in, want string }{
		{"/home/annaperson/models/a.gguf", "~/models/a.gguf"},
		{"/home/otherperson/models/a.gguf", "/home/(user)/models/a.gguf"},
		{`"C:\\Users\\Bob B\\x.gguf" and C:\Users\bob\y`, `"C:\\Users\\(user) B\\x.gguf" and C:\Users\(user)\y`},
		{"Linux annas-tower 6.1.0", "Linux (host) 6.1.0"},
		{"DESKTOP-ANNA1\\annaperson", "(host)\\(user)"},
		{"Serial Number : 1562319012345", "Serial Number : (serial)"},
		{"    Board Serial: 69-2251 000123\nnext", "    Board Serial: (serial)\nnext"},
		{`"asic_serial": "0x76A08C4F", "x": 1`, `"asic_serial": "(serial)", "x": 1`},
		{`{"Unique ID": "0x3d4595974090853c"}`, `{"Unique ID": "(serial)"}`},
		{"DESKTOP-ANNA1 desktop-anna1 ANNAS-TOWER", "(host) (host) (host)"},
		{`{"Serial Number":"AB12"}`, `{"Serial Number":"(serial)"}`},
		{"GPU UUID: GPU-5c0a1e2b-1111-2222-3333-444455556666", "GPU UUID: GPU-(uuid)"},
		{"MIG-5c0a1e2b-1111-2222-3333-444455556666", "MIG-(uuid)"},
		{"root=UUID=5c0a1e2b-1111-2222-3333-444455556666", "root=UUID=(uuid)"},
		{"ether 3c:7c:3f:aa:bb:cc", "ether (mac)"},
		{"00000000:4D:00.0, 0000:4d:00.0", "(bus), (bus)"},
		{"http://192.168.1.17:8080 10.1.2.3 172.20.0.2 100.64.3.2", "http://(address):8080 (address) (address) (address)"},
		{"http://127.0.0.1:8080 localhost:11434", "http://127.0.0.1:8080 localhost:11434"},
		{"fe80::1ff:fe23:4567:890a%2", "(address)%2"},
		{"2001:db8:1234:5678:9abc:def0:1234:5678", "(address)"},
		{"https://anna:secret@host/v1", "https://host/v1"},
		// What is no secret stays.
		{"driver 590.48.01 · CUDA 13.1 · VBIOS 96.00.D9.00.01", "driver 590.48.01 · CUDA 13.1 · VBIOS 96.00.D9.00.01"},
		{"10.0.26100 Build 26100, 32.0.12033.1030", "10.0.26100 Build 26100, 32.0.12033.1030"},
		{"12:34:56 2026-11-24T02:44:26Z", "12:34:56 2026-11-24T02:44:26Z"},
		{"sha256:f4cdd0ef3b0965c3318a1a15dc593b76ce4c1efe60653f2b1e6b0df3ed63fcf8", "sha256:f4cdd0ef3b0965c3318a1a15dc593b76ce4c1efe60653f2b1e6b0df3ed63fcf8"},
	} {
		if got := r.text(c.in); got != c.want {
			t.Errorf("%q\n got %q\nwant %q", c.in, got, c.want)
		}
	}
	if got := r.raw("0::/docker/" + strings.Repeat("ab", 32)); got != "0::/docker/(id)" {
		t.Error(got)
	}
}

// Names that systems come with are nobody's, and words of the page.
func TestNamesOfNobody(t *testing.T) {
	env := map[string]string{"USER": "debian", "LOGNAME": "debian", "HOSTNAME": "ubuntu"}
	a := &app{&Process{Env: func(k string) string { return env[k] }, Home: func() string { return "/home/debian" }}}
	const page = `system debian 12, {"distribution": "ubuntu"}`
	if got := a.redaction().text(page); got != page {
		t.Errorf("%q", got)
	}
	if got := a.redaction().text("/home/debian/m.gguf"); got != "~/m.gguf" {
		t.Errorf("%q", got)
	}
	env["HOSTNAME"], env["USER"] = "anna", "anna-leeson"
	if got := a.redaction().text("anna-leeson@anna"); got != "(user)@(host)" {
		t.Errorf("%q", got)
	}
}

func FuzzRedaction(f *testing.F) {
	a := &app{&Process{Env: func(string) string { return "" }, Home: func() string { return "/home/annaperson" }}}
	r := a.redaction()
	f.Add("GPU-5c0a1e2b /home/annaperson serial: x")
	f.Fuzz(func(t *testing.T, s string) {
		if got := r.raw(s); strings.Contains(got, "/home/annaperson") {
			t.Errorf("%q", got)
		}
	})
}

// Text is folded for a terminal alone, at spaces, and no word is lost.
func TestFold(t *testing.T) {
	text := "not detected; skip: searched ports 8080 and 9931, llama-server on PATH, /a/very/long/path/without/any/space/in/it/at/all/and/more and ~/models"
	tty := func(width int) *app {
		return &app{&Process{OutTTY: width > 0, Width: func() int { return width }}}
	}
	if got := tty(0).fold(text, 10); len(got) != 1 || got[0] != text {
		t.Errorf("%q", got)
	}
	for _, width := range []int{1, 30, 50, 80, 200} {
		got := tty(width).fold(text, 10)
		if strings.Join(got, " ") != text {
			t.Errorf("%d: %q", width, got)
		}
		for _, line := range got {
			if columns(line) > max(width-10, leastFold) && strings.Contains(line, " ") {
				t.Errorf("%d: %q", width, line)
			}
		}
	}
	if got := tty(80).fold("", 2); len(got) != 1 {
		t.Errorf("%q", got)
	}
}
