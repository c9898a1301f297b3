package upload

// Schema names the body of an upload document; Type is its type in an envelope.
const (
	Schema = "llm-speed/upload/v1"
	Type   = "application/vnd.llm-speed.result.v1+json"
)

// Body is what of a run is for others: raw counts and durations, from which a service computes every figure, and what they
// are figures of. All numbers are whole: nanoseconds (_ns), bytes, tokens; thousandths where a key begins with milli or micro
// says millionths. What is not known is null or empty, never 0.
//
// It has no field for a text that a server, a tool or a model has written freely, so that no error that quotes a key, no
// prompt and no answer can be in it.
type Body struct {
	Schema     string `json:"schema" jsonschema:"const=llm-speed/upload/v1"`
	RunID      string `json:"run_id"`     // empty in an anonymous document
	StartedAt  string `json:"started_at"` // to the second, UTC; the day alone in an anonymous document
	Anonymous  bool   `json:"anonymous"`  // made so that nothing in it ties it to another document
	State      string `json:"state" jsonschema:"enum=complete,enum=partial,enum=running"`
	Mode       string `json:"mode" jsonschema:"enum=full,enum=quick"`
	Simulated  bool   `json:"simulated"`  // numbers of the built-in simulator: of no machine and no model
	Rankable   bool   `json:"rankable"`   // every row is
	Supersedes string `json:"supersedes"` // id of the document of the same run that was sent before; empty for none

	Client  Client  `json:"client"`
	Suite   Suite   `json:"suite"`
	Seed    string  `json:"seed"` // of the prompts, 16 hex digits; empty in an anonymous document
	Backend Backend `json:"backend"`
	Model   Model   `json:"model"`

	Hardware    *Hardware    `json:"hardware"`
	Before      *Condition   `json:"environment_before"`
	After       *Condition   `json:"environment_after"`
	Calibration *Calibration `json:"calibration"` // the client's own receipt
	Network     Network      `json:"network"`
	Budget      Budget       `json:"budget"`

	Flags   []string `json:"flags"`    // names, of the run as a whole
	Planned []string `json:"planned"`  // keys of the rows that the run was to have
	Rows    []Row    `json:"rows"`     //
	LeftOut []string `json:"left_out"` // fields whose text was not of a kind that may leave the machine

	FPCommit string `json:"fp_commit"` // SHA-256 of fp and a salt, which travel beside the signed document; empty where the run has no fp
	Pub      string `json:"pub"`       // the key that signs, Ed25519 in hex
	Random   string `json:"random"`    // 16 bytes in hex, so that the id of a document that was erased can't be guessed
}

// Client is the program that measured. An anonymous document has only what all users of a release share.
type Client struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	SHA256  string `json:"sha256"` // of the executable
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Suite is what was run.
type Suite struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Digest    string `json:"digest"`
	Generator string `json:"generator"`
	Official  bool   `json:"official"` // its digest is one that the program carries; others are never ranked
	Sandbox   string `json:"sandbox"`
}

// Backend is what served.
type Backend struct {
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Build    string            `json:"build"` // build flags or compute back end
	Attached bool              `json:"attached"`
	URLKind  string            `json:"url_kind" jsonschema:"enum=loopback,enum=lan,enum=remote,enum="`
	Caps     []string          `json:"caps"`
	Options  map[string]string `json:"options"` // as the user set them: plain words and numbers only
}

// Model is what was served.
type Model struct {
	Name          string           `json:"name"`
	Ref           string           `json:"ref"` // as it was asked for; no folders
	Quant         string           `json:"quant"`
	Digest        string           `json:"digest"` // sha256:… of the weights
	DigestKind    string           `json:"digest_kind"`
	PrefixDigest  string           `json:"prefix_digest"`
	PrefixKind    string           `json:"prefix_digest_kind"`
	SizeBytes     *int64           `json:"size_bytes"`
	ContextMax    *int64           `json:"context_max"` // tokens
	Format        string           `json:"format"`
	Architecture  string           `json:"architecture"`
	Parameters    *int64           `json:"parameters"`
	QuantTypes    map[string]int64 `json:"quant_types"` // elements by storage type
	BitsPerWeight *int64           `json:"millibits_per_weight"`
	Layers        *int64           `json:"layers"`
	Experts       *int64           `json:"experts"`
	ExpertsUsed   *int64           `json:"experts_used"`
}

// Hardware is the machine, without what tells one from another of its kind. An anonymous document has less of it:
// docs/upload.md.
type Hardware struct {
	Machine        string `json:"machine"`
	CPU            CPU    `json:"cpu"`
	RAMGiB         *int64 `json:"ram_gib"`       // rounded
	RAMLimitGiB    *int64 `json:"ram_limit_gib"` // of the container
	RAMModules     *int64 `json:"ram_modules"`
	RAMChannels    *int64 `json:"ram_channels"`
	RAMSpeed       *int64 `json:"ram_speed_mts"`
	OS             string `json:"os"`
	Arch           string `json:"arch"`
	Distribution   string `json:"distribution"`
	Version        string `json:"os_version"`
	Kernel         string `json:"kernel"`
	WSL            string `json:"wsl"`
	Virtualization string `json:"virtualization"`
	GPUs           []GPU  `json:"gpus"`
	GPUsKnown      bool   `json:"gpus_known"` // false: it is not known whether there are more
	CUDA           string `json:"cuda"`
	ROCm           string `json:"rocm"`
	Metal          string `json:"metal"`
}

// CPU is the machine's processors.
type CPU struct {
	Model            string `json:"model"`
	Sockets          *int64 `json:"sockets"`
	Cores            *int64 `json:"cores"`
	Threads          *int64 `json:"threads"`
	Usable           *int64 `json:"usable_threads"`
	PerformanceCores *int64 `json:"performance_cores"`
	EfficiencyCores  *int64 `json:"efficiency_cores"`
	ClockMax         *int64 `json:"clock_max_khz"`
	NUMANodes        *int64 `json:"numa_nodes"`
	LimitCPUs        *int64 `json:"limit_millicpus"` // of the container
	Governor         string `json:"governor"`
	SMT              *bool  `json:"smt"`
	Turbo            *bool  `json:"turbo"`
	Translated       *bool  `json:"translated"`
}

// GPU is one graphics processor.
type GPU struct {
	Vendor        string `json:"vendor"`
	Name          string `json:"name"`
	VRAMMiB       *int64 `json:"vram_mib"`
	SharedMiB     *int64 `json:"shared_mib"`
	Driver        string `json:"driver"`
	DriverModel   string `json:"driver_model"`
	VBIOS         string `json:"vbios"`
	Architecture  string `json:"architecture"`
	Cores         *int64 `json:"cores"`
	PowerLimit    *int64 `json:"power_limit_mw"`
	PowerEnforced *int64 `json:"power_enforced_mw"`
	PowerDefault  *int64 `json:"power_default_mw"`
	PowerMax      *int64 `json:"power_max_mw"`
	ClockMax      *int64 `json:"clock_max_khz"`
	ClockApp      *int64 `json:"clock_application_khz"`
	MemoryClock   *int64 `json:"memory_clock_max_khz"`
	PCIeGen       *int64 `json:"pcie_gen_max"`
	PCIeWidth     *int64 `json:"pcie_width_max"`
	MIG           *bool  `json:"mig"`
	ECC           *bool  `json:"ecc"`
	Persistence   *bool  `json:"persistence"`
}

// Condition is what the machine was doing before or after the run.
type Condition struct {
	Load         *int64     `json:"milli_load_1m"`
	CPU          *int64     `json:"millipercent_cpu"`
	CPUClock     *int64     `json:"cpu_clock_khz"`
	CPUTemp      *int64     `json:"cpu_temperature_mc"` // thousandths of a degree
	SpeedLimit   *int64     `json:"millipercent_cpu_speed_limit"`
	Pressure     string     `json:"thermal_pressure"`
	Governor     string     `json:"governor"`
	PowerMode    string     `json:"power_mode"`
	RAMAvailable *int64     `json:"ram_available_mib"`
	OnBattery    *bool      `json:"on_battery"`
	GPUProcesses *int64     `json:"gpu_processes"`
	GPUs         []GPUState `json:"gpus"`
}

// GPUState is what a GPU was doing.
type GPUState struct {
	Use         *int64   `json:"millipercent_use"`
	MemoryUsed  *int64   `json:"memory_used_mib"`
	Clock       *int64   `json:"clock_khz"`
	MemoryClock *int64   `json:"memory_clock_khz"`
	Temperature *int64   `json:"temperature_mc"`
	Power       *int64   `json:"power_mw"`
	Level       string   `json:"performance_state"`
	PCIeGen     *int64   `json:"pcie_gen"`
	PCIeWidth   *int64   `json:"pcie_width"`
	Reasons     []string `json:"clock_reasons"`
}

// Calibration is how far the client's figures were from the truth, against its own simulator.
type Calibration struct {
	Streams      *int64 `json:"streams"`
	Requests     *int64 `json:"requests"`
	TTFTErrorP50 *int64 `json:"ttft_error_p50_ns"`
	TTFTErrorP99 *int64 `json:"ttft_error_p99_ns"`
	ITLErrorP99  *int64 `json:"itl_error_p99_ns"`
	DecodeError  *int64 `json:"decode_error_millionths"`
	EventsPerS   *int64 `json:"events_per_s"`
	Limit        *int64 `json:"limit_ns"`
	Passed       bool   `json:"passed"`
}

// Network is the way to the server.
type Network struct {
	RTT *int64 `json:"rtt_ns"`
	DNS *int64 `json:"dns_ns"`
	TLS *int64 `json:"tls_ns"`
}

// Budget is the time that a run gave itself.
type Budget struct {
	Limit   *int64 `json:"limit_ms"`
	Spent   *int64 `json:"spent_ms"`
	Repeats *int64 `json:"repeats"`
	Cut     *int64 `json:"cut"` // how many things it left out
}

// Row is one point of one workload.
type Row struct {
	Key        string            `json:"key"`
	ID         string            `json:"id"`
	Workload   string            `json:"workload"`
	Point      map[string]string `json:"point"` // numbers are written as JSON writes them
	Status     string            `json:"status" jsonschema:"enum=ok,enum=skipped,enum=failed"`
	Rankable   bool              `json:"rankable"`
	Flags      []string          `json:"flags"`
	Passes     int64             `json:"passes"`      // without a failed request
	Sent       int64             `json:"passes_sent"` // that are in this document, failed ones too; fewer than there were where it would have been too large
	Provenance string            `json:"provenance"`  // worst of the row's counts, A to E
	TokensHow  string            `json:"n_i"`         // how tokens were put on events
	Cold       string            `json:"cold"`        //
	ColdProbe  *Probe            `json:"cold_probe"`  // that estimated prefill rates were taken against
	Stated     Stated            `json:"stated"`      //
	Energy     *Energy           `json:"energy"`      // experimental
	Waited     *int64            `json:"waited_ns"`   // for rate limits, outside of every other time
	Repeated   *int64            `json:"sent_again"`  // releases that a service refused and that were made again
	Batches    []Batch           `json:"batches"`     //
	Samples    Samples           `json:"samples"`     //
	Metrics    map[string]Metric `json:"metrics"`     // what the suite's program recorded
}

// Stated are figures that nothing here lets anybody compute again: they are over every token of every stream.
type Stated struct {
	ITLp50     *int64 `json:"itl_p50_ns"`
	ITLp95     *int64 `json:"itl_p95_ns"`
	ITLp99     *int64 `json:"itl_p99_ns"`
	DecodeOver *int64 `json:"decode_over_millionths"` // by what share decode rates may be too high, since tokens may be hidden
}

// Probe is the short cold prompt of estimated prefill rates.
type Probe struct {
	Tokens int64  `json:"tokens"`
	TTFT   int64  `json:"ttft_ns"`
	Noise  int64  `json:"ttft_range_ns"`
	Cached *int64 `json:"cached"`
}

// Energy is what the row's streams took by a sensor.
type Energy struct {
	Decode        *int64 `json:"decode_uj"`
	DecodeTime    *int64 `json:"decode_ns"`
	DecodeTokens  *int64 `json:"decode_millitokens"`
	Prefill       *int64 `json:"prefill_uj"`
	PrefillTime   *int64 `json:"prefill_ns"`
	PrefillTokens *int64 `json:"prefill_millitokens"`
}

// Batch is a set of streams released by one barrier. Window is the time in which all of them decoded; null where there is none.
type Batch struct {
	Pass         int64   `json:"pass"`
	Streams      []int64 `json:"streams"` // places in samples
	Window       *int64  `json:"window_ns"`
	WindowTokens *int64  `json:"window_millitokens"`
	AggregateOK  bool    `json:"aggregate_stands"` // the rate over the window is a figure
	SpanOK       bool    `json:"span_stands"`      // that over the whole span is one
	Parallelism  int64   `json:"parallelism"`
}

// Metric is what a suite's program recorded: values by pass, in millionths of the unit; null where one is out of range.
type Metric struct {
	Unit   string     `json:"unit"`
	Better string     `json:"better" jsonschema:"enum=lower,enum=higher,enum="`
	Values [][]*int64 `json:"micro_values"`
}

// Samples are the timed requests of a row, a column each: the same place in every column is the same request. Times count
// from the request's own send, but for at_ns.
type Samples struct {
	Pass      []int64  `json:"pass"`
	Release   []int64  `json:"release"`    // number of the pass's first request that was released with it
	At        []*int64 `json:"at_ns"`      // when it was sent, from the first one of its release
	Queue     []*int64 `json:"queue_ns"`   // from when it was due to when it was sent
	TTFB      []*int64 `json:"ttfb_ns"`    // first byte
	TTFT      []*int64 `json:"ttft_ns"`    // first text: t_1
	TTFA      []*int64 `json:"ttfa_ns"`    // first text that is no reasoning
	Last      []*int64 `json:"last_ns"`    // last text: t_L
	Text      []*int64 `json:"text_ns"`    // from first text to last: t_L - t_1, rounded by itself where the others are
	End       []*int64 `json:"end_ns"`     //
	MaxGap    []*int64 `json:"max_gap_ns"` //
	Stalls    []*int64 `json:"stalls"`
	ReadLag   []*int64 `json:"read_lag_ns"`
	Prompt    []*int64 `json:"prompt"`
	Cached    []*int64 `json:"cached"`
	Output    []*int64 `json:"output"`
	Reasoning []*int64 `json:"reasoning"`
	From      []string `json:"from"` // provenance of these four, a letter each; - for unknown

	Events       []int64  `json:"events"` // text-bearing
	Reads        []int64  `json:"reads"`
	Merged       []int64  `json:"events_merged"`
	FirstTokens  []*int64 `json:"first_millitokens"`  // in the first event
	WindowTokens []*int64 `json:"window_millitokens"` // in (t_1, t_L]; null where not known
	AskedOutput  []int64  `json:"asked_output"`
	AskedPrompt  []int64  `json:"asked_prompt"` // 0: a fixed trace
	MaxCached    []*int64 `json:"max_cached"`   // that a perfect prefix cache could have hit
	Finish       []string `json:"finish"`

	DecodeOK      []bool   `json:"decode_stands"` // window_millitokens over text_ns is a decode rate
	PrefillFrom   []string `json:"prefill_from"`  // server, estimated, or empty where there is no prefill rate
	PrefillTokens []*int64 `json:"server_prefill_tokens"`
	PrefillTime   []*int64 `json:"server_prefill_ns"`
	DecodeTokens  []*int64 `json:"server_decode_tokens"`
	DecodeTime    []*int64 `json:"server_decode_ns"`
	Failed        []bool   `json:"failed"` // a pass with a failed request is in no figure
	Warm          []bool   `json:"warm"`   // it went on with a conversation
	Reuse         []bool   `json:"reuse"`  // a prompt cache was meant to serve it
	Reused        []bool   `json:"conn_reused"`
	Flags         []string `json:"flags"` // names, with commas
}
