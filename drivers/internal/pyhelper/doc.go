// Package pyhelper is the Go side of a Python helper process: a small script, embedded by the driver that needs it, that runs
// a backend's own Python library and speaks JSON lines over its pipes.
//
// It starts the helper (helper.go), reads its pipe with a stamp at each read (reader.go), carries calls (call.go) and streams
// (stream.go), compares the two clocks (clock.go), and understands a recorded stream (decode.go). It also finds the
// interpreter and the packages in it (python.go) and the model folders of a machine (folders.go). The script's own half of the
// protocol is llm_speed_helper.py.
//
// It never writes a file, never installs or imports a package to look whether it is there, never restarts a helper, and leaves
// no process behind: the helper runs behind internal/proc's guard and ends with its stdin.
package pyhelper
