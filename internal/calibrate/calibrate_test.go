package calibrate

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

func receipt(t *testing.T, b json.RawMessage) Receipt {
	t.Helper()
	var r Receipt
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("receipt %s: %v", b, err)
	}
	return r
}

// TestReceipt takes one calibration as a run does. Its errors depend on what else the machine does, so that only its form
// is held, and that the flag goes with the figures.
func TestReceipt(t *testing.T) {
	b, flags, err := Run(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	r := receipt(t, b)
	if r.Streams != 4 || r.Requests != 7 || !r.Simulated || r.LimitMs != 2 {
		t.Errorf("receipt is %s; want 4 streams, 7 requests, a limit of 2 ms", b)
	}
	for name, x := range map[string]*float64{"TTFT p50": r.TTFTErrorP50Ms, "TTFT p99": r.TTFTErrorP99Ms, "ITL p99": r.ITLErrorP99Ms, "decode": r.DecodeError} {
		if x == nil || *x < 0 {
			t.Errorf("no %s error in the receipt %s", name, b)
		}
	}
	if *r.TTFTErrorP50Ms > *r.TTFTErrorP99Ms {
		t.Errorf("TTFT error p50 %g is above p99 %g", *r.TTFTErrorP50Ms, *r.TTFTErrorP99Ms)
	}
	if r.EventsPerS <= 0 || r.EventsPerSMax <= r.EventsPerS {
		t.Errorf("at full speed %g events/s; at 200 a stream %g", r.EventsPerSMax, r.EventsPerS)
	}
	if x := r.OthersPercent; x == nil && r.Reasons["cpu_others_percent"] == "" || x != nil && (*x < 0 || *x > 100) {
		t.Errorf("the CPU that other processes took is neither a share nor unknown with its reason: %s", b)
	}
	if r.Load1m == nil && r.Reasons["load_1m"] == "" {
		t.Errorf("the load is neither known nor unknown with its reason: %s", b)
	}
	if over := *r.TTFTErrorP99Ms > 2 || *r.ITLErrorP99Ms > 2; r.Passed == over || r.Passed != (len(flags) == 0) {
		t.Errorf("passed is %t with flags %v and the receipt %s", r.Passed, flags, b)
	}
}

// TestAQuietClientIsNotFlagged: against a limit that no machine misses there is no flag.
func TestAQuietClientIsNotFlagged(t *testing.T) {
	b, flags, err := run(t.Context(), 2, time.Minute)
	if err != nil || len(flags) != 0 || !receipt(t, b).Passed {
		t.Errorf("flags %v, error %v, receipt %s; want none", flags, err, b)
	}
}

// TestALoadedMachineIsFlagged keeps every thread that this process may run on busy, so that whatever a read brings waits
// for the scheduler's time slice of 10 ms. That is several times the limit of 2 ms.
func TestALoadedMachineIsFlagged(t *testing.T) {
	var stop atomic.Bool
	var spinning sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		spinning.Go(func() {
			for !stop.Load() {
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, flags, err := Run(ctx, 2)
	stop.Store(true)
	spinning.Wait()
	if err != nil {
		t.Fatal(err)
	}
	r := receipt(t, b)
	if r.Passed || len(flags) != 1 || flags[0].Name != "client_bound" || !strings.Contains(flags[0].Evidence, "the limit is 2 ms") {
		t.Errorf("flags %v; want client_bound with the receipt %s", flags, b)
	}
}

// TestACalibrationThatFailsIsFlagged: one that was ended by its caller is not the client's fault, any other is.
func TestACalibrationThatFailsIsFlagged(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if b, flags, err := Run(ctx, 1); !errors.Is(err, cause) || b != nil || flags != nil {
		t.Errorf("receipt %s, flags %v, error %v; want nothing but the cause", b, flags, err)
	}
	b, flags, err := failed(drivers.ErrReset)
	if !errors.Is(err, drivers.ErrReset) || b != nil || len(flags) != 1 || flags[0] != (record.Flag{
		Name: "client_bound", Evidence: "the calibration failed: " + drivers.ErrReset.Error(),
	}) {
		t.Errorf("receipt %s, flags %v, error %v; want client_bound", b, flags, err)
	}
}
