// Package record is the result document, schema llm-speed/result/v1: what a run was, what it measured, and what is not
// known and why. It imports nothing of this module, computes nothing, and reads no files.
//
// Absent knowledge is null, with the reason in the same object's reasons map under the field's JSON name; it is never 0.
// Times are milliseconds (_ms), seconds (_s) or nanoseconds (_ns) as the key says; rates are tokens a second (_tps).
package record

import (
	"encoding/json"
	"time"
)

// Schema names the document.
const Schema = "llm-speed/result/v1"

// Result is one run.
type Result struct {
	Schema      string          `json:"schema" jsonschema:"const=llm-speed/result/v1"`
	Kind        Kind            `json:"kind,omitempty" jsonschema:"enum=llama-bench"` // absent: measured by llm-speed; else by another program, by other definitions
	RunID       string          `json:"run_id"`
	StartedAt   time.Time       `json:"started_at"`
	FinishedAt  *time.Time      `json:"finished_at"` // null while it runs and where it was cut off
	State       State           `json:"state" jsonschema:"enum=running,enum=complete,enum=partial"`
	Mode        string          `json:"mode" jsonschema:"enum=full,enum=quick,enum="` // empty where another program measured
	Client      Client          `json:"client"`
	Suite       Suite           `json:"suite"`
	Seed        string          `json:"seed"` // 16 hex digits; --seed with it gives the same prompts to the byte
	Anonymous   bool            `json:"anonymous"`
	FP          string          `json:"fp"` // tells whether two results are of one machine and installation, and nothing else; of an anonymous run it fits no other
	Backend     Backend         `json:"backend"`
	Model       Model           `json:"model"`
	Fingerprint json.RawMessage `json:"fingerprint"` // hardware and operating system
	Environment Environment     `json:"environment"`
	Calibration json.RawMessage `json:"calibration"` // the client's own receipt; null with reason where not taken
	Network     Network         `json:"network"`
	Budget      Budget          `json:"budget"`
	Rankable    bool            `json:"rankable"` // every row is
	Flags       []Flag          `json:"flags"`    // of the run as a whole
	Planned     []string        `json:"planned"`  // keys of the rows that the run is to have, in order
	Rows        []Row           `json:"results"`
	Raw         []RawFile       `json:"raw_timings"` // files beside this document
	Reasons     Reasons         `json:"reasons,omitempty"`
}

// Kind says whose figures a document holds.
type Kind string

// LlamaBench is the kind of runs made of what llama-bench wrote. They have rows by its tests, figures under names of their
// own, and none of ours.
const LlamaBench Kind = "llama-bench"

// State says how far a run came.
type State string

// The states of a run.
const (
	Running  State = "running"  // or cut off: nobody finished it
	Complete State = "complete" // every planned row has its status
	Partial  State = "partial"  // stopped before that; --resume goes on
)

// Reasons says why fields are null, by JSON name.
type Reasons map[string]string

// Client is the program that measured.
type Client struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	SHA256  string `json:"sha256"` // of the executable; empty where it could not be read
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Suite is what was run.
type Suite struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Digest    string `json:"digest"`    // sha256:… over the suite's files
	Generator string `json:"generator"` // of prompt text
	Official  bool   `json:"official"`  // the digest is one that this binary carries
	Sandbox   string `json:"sandbox"`   // where its programs ran: in workers, or with --no-sandbox in the program's own process
}

// Backend is what served.
type Backend struct {
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Build    string            `json:"build"`
	Attached bool              `json:"attached"`                                                       // it ran before us
	URLKind  string            `json:"url_kind" jsonschema:"enum=loopback,enum=lan,enum=remote,enum="` // empty where no server was asked
	Caps     []string          `json:"caps"`
	Options  map[string]string `json:"options,omitempty"` // as the user set them; no keys, no paths
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Model is what was served.
type Model struct {
	Ref        string `json:"ref"`
	Name       string `json:"name"`
	Quant      string `json:"quant"`                                                // empty where not known
	Digest     string `json:"digest" jsonschema:"pattern=^(sha256:[0-9a-f]{64})?$"` // sha256:… of the weights, in this form whatever serves them; empty where not known
	DigestKind string `json:"digest_kind"`                                          // what was hashed
	SizeBytes  *int64 `json:"size_bytes"`
	ContextMax *int   `json:"context_max"` // tokens

	// What the headers of the model's files say, where they can be read from here.
	Format        string           `json:"format"` // gguf or safetensors; empty where they can't
	Architecture  *string          `json:"architecture"`
	Parameters    *int64           `json:"parameters"`      // weights of all tensors, unpacked
	QuantTypes    map[string]int64 `json:"quant_types"`     // elements of all tensors by their storage type; packed integers count as they are stored
	BitsPerWeight *float64         `json:"bits_per_weight"` // bytes on the disk, headers and all, a parameter
	Layers        *int             `json:"layers"`
	Experts       *int             `json:"experts"`                                                     // a layer; null for a dense model
	ExpertsUsed   *int             `json:"experts_used"`                                                // for each token
	PrefixDigest  string           `json:"prefix_digest" jsonschema:"pattern=^(sha256:[0-9a-f]{64})?$"` // sha256:…, known before the first request; it proves less than digest
	PrefixKind    string           `json:"prefix_digest_kind"`
}

// Environment is the machine's state around the run.
type Environment struct {
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	Events []string        `json:"events"`
	Series []RawFile       `json:"series"` // files with what was seen about once a second in between; one for each time that the run was begun or resumed
}

// Network is the way to the server; shown beside TTFT, never subtracted.
type Network struct {
	RTTms *float64 `json:"rtt_ms"` // median TCP connect time
	DNSms *float64 `json:"dns_ms"`
	TLSms *float64 `json:"tls_ms"`
}

// Budget is the time that a run gave itself and what it did with it.
type Budget struct {
	LimitS  float64  `json:"limit_s"`
	SpentS  float64  `json:"spent_s"`
	Repeats int      `json:"repeats"` // as forced by --repeats; 0: the budget decides
	Cut     []string `json:"cut"`     // what the budget left out, in words

	Tokens    *Tokens `json:"tokens"`     // that all requests took, warm-ups and probes included
	TokensMax *int    `json:"tokens_max"` // --max-tokens-total; null: no ceiling
}

// Tokens are what the requests of a run took, those of the invocations that it goes on from included, by the server's own counts.
type Tokens struct {
	Prompt    int `json:"prompt"`
	Output    int `json:"output"`
	Uncounted int `json:"uncounted"` // the most that requests can have taken whose counts are not known
}

// Pauses are waits for a service's rate limits, and requests that it refused and that were sent again. They lie outside of
// every time.
type Pauses struct {
	WaitedS  float64  `json:"waited_s"`
	Repeated int      `json:"repeated"` // releases that were void and made again
	Why      []string `json:"why"`
}

// RawFile is a file of raw frames in the run's folder.
type RawFile struct {
	Path   string `json:"path"` // relative to the run's folder
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Status of a row.
type Status string

// The statuses of a row.
const (
	OK      Status = "ok"
	Skipped Status = "skipped"
	Failed  Status = "failed"
)

// Row is one point of one workload.
type Row struct {
	ID       string         `json:"id"`       // as the suite names it
	Workload string         `json:"workload"` // its name
	Point    map[string]any `json:"point"`    // null where the workload has but one
	Key      string         `json:"key"`      // ID, or ID/key=value: what explain takes
	Status   Status         `json:"status" jsonschema:"enum=ok,enum=skipped,enum=failed"`
	Reason   string         `json:"reason"` // why it is not ok
	Rankable bool           `json:"rankable"`

	TTFTms     *float64 `json:"ttft_ms"`
	TTFTp95ms  *float64 `json:"ttft_p95_ms"`
	TTFTmaxms  *float64 `json:"ttft_max_ms"`
	TTFAms     *float64 `json:"ttfa_ms"`
	PrefillTPS *float64 `json:"prefill_tps"`
	PrefillHow string   `json:"prefill_method" jsonschema:"enum=server,enum=estimated,enum="` // server's own time, or estimated by the client
	DecodeTPS  *float64 `json:"decode_tps"`
	DecodeOver *float64 `json:"decode_tps_over,omitempty" figure:"-"` // by what share decode_tps may be too high, because tokens may be hidden that nothing tells apart; absent where none can be
	ITLp50ms   *float64 `json:"decode_p50_latency_ms"`
	ITLp95ms   *float64 `json:"decode_p95_latency_ms"`
	ITLp99ms   *float64 `json:"decode_p99_latency_ms"`
	MaxGapms   *float64 `json:"max_gap_ms"`
	Stalls     *int     `json:"stalls"`

	PromptTokens *int     `json:"prompt_tokens"` // median over requests
	CachedTokens *int     `json:"cached_tokens"` // sum over requests of a pass, median over passes
	OutputTokens *int     `json:"output_tokens"` // median over requests
	Reasoning    *int     `json:"reasoning_tokens"`
	Wallms       *float64 `json:"wall_ms"` // of one pass, median over passes
	HitRate      *float64 `json:"prefix_cache_hit_rate"`
	HitRateMax   *float64 `json:"prefix_cache_max"`
	HitRateEff   *float64 `json:"prefix_cache_efficiency"`

	AggregateTPS *float64 `json:"aggregate_tps,omitempty"`
	SpanTPS      *float64 `json:"whole_span_tps,omitempty"`
	PerStreamTPS *float64 `json:"per_stream_tps,omitempty"` // p50
	PerStreamP5  *float64 `json:"per_stream_p5_tps,omitempty"`
	Fairness     *float64 `json:"fairness,omitempty"`
	Parallelism  *int     `json:"parallelism_observed,omitempty"`

	// Relative holds ratios of this row to a base row of the same workload, as the suite names them (decode_decay, scaling).
	Relative map[string]*float64 `json:"relative,omitempty"`
	// RelativeTo says what each ratio divides, and by what. It is absent where the base row is not in the run.
	RelativeTo map[string]Base `json:"relative_to,omitempty"`

	TurnP50ms    *float64 `json:"turn_p50_ms,omitempty"`
	TurnP95ms    *float64 `json:"turn_p95_ms,omitempty"`
	WarmTTFTms   *float64 `json:"warm_ttft_ms,omitempty"`
	ColdTTFTms   *float64 `json:"cold_ttft_ms,omitempty"`
	TotalOutput  *int     `json:"total_output_tokens,omitempty"`
	TotalPrompt  *int     `json:"total_prompt_tokens,omitempty"`
	ContextFinal *int     `json:"context_final_tokens,omitempty"` // prompt and output of the last turn

	Pauses          *Pauses            `json:"pauses,omitempty"` // waits for rate limits, and what was sent again
	Passes          int                `json:"passes"`
	Requests        int                `json:"requests"`              // timed requests over all passes
	CV              map[string]float64 `json:"cv"`                    // coefficient of variation over passes, by metric; null with one pass
	CI95            map[string]CI      `json:"ci95"`                  // 95 % interval over passes, by metric; null with one pass
	TokensPerEvent  *float64           `json:"tokens_per_event"`      //
	TokensHow       string             `json:"n_i"`                   // "stated", "one a token" or "estimated": how tokens were put on events
	CountProvenance string             `json:"count_provenance"`      // worst of the row: A to E
	Cold            string             `json:"cold"`                  // "proved", "assumed", "broken", or "reuse" where reuse is the point
	Flags           []Flag             `json:"flags"`                 //
	Server          *Server            `json:"server"`                // the server's own figures
	Energy          *Energy            `json:"energy"`                // experimental, and off the ranking
	Samples         []Sample           `json:"samples"`               // one a timed request
	Batches         []Batch            `json:"batches,omitempty"`     // one a barrier release
	ColdProbe       *Probe             `json:"cold_probe,omitempty"`  // what an estimated prefill rate was taken against
	Metrics         map[string]Metric  `json:"metrics,omitempty"`     // what the suite declares
	Reports         []string           `json:"reports"`               // which fields the suite wants shown, in order
	LlamaBench      json.RawMessage    `json:"llama_bench,omitempty"` // the test as llama-bench wrote it, without folders
	Reasons         Reasons            `json:"reasons,omitempty"`
}

// Probe is the short cold prompt of an estimated prefill rate: P0 and TTFT(P0) of measurement.md section 3.
type Probe struct {
	Tokens  int     `json:"tokens"`
	TTFTms  float64 `json:"ttft_ms"`       // median of the short requests
	NoiseMs float64 `json:"ttft_range_ms"` // by how much their TTFT differ
	Cached  Count   `json:"cached"`
}

// Base is what a ratio is taken of: a figure of this row over the same figure of another.
type Base struct {
	Row    string `json:"row"`    // key of the row that it divides by
	Metric string `json:"metric"` // name of the figure: decode_tps
}

// CI is an interval.
type CI struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Flag is a name of measurement.md section 6 with what was seen.
type Flag struct {
	Name     string `json:"name"`
	Evidence string `json:"evidence"`
}

// Server holds what the server says about itself, medians over the requests of a row, recomputed by this project's rule.
type Server struct {
	PrefillTPS *float64 `json:"prefill_tps"`
	DecodeTPS  *float64 `json:"decode_tps"`
	QueueMs    *float64 `json:"queue_ms"`
	Definition string   `json:"definition"`
}

// Energy is what the row's streams took, by a sensor that is read about once a second. It is experimental. It holds all that
// the sensor sees: idle power, and what other programs used.
type Energy struct {
	Method         string   `json:"method"`           // sensor, and what it covers
	PerOutputToken *float64 `json:"per_output_token"` // joules
	PerPromptToken *float64 `json:"per_prompt_token"` // joules, by tokens that were not cached
	DecodeJ        *float64 `json:"decode_j"`         // joules in the intervals that decode_s sums up
	DecodeS        float64  `json:"decode_s"`
	DecodeTokens   float64  `json:"decode_tokens"`
	PrefillJ       *float64 `json:"prefill_j"`
	PrefillS       float64  `json:"prefill_s"`
	PrefillTokens  float64  `json:"prefill_tokens"`
	Reasons        Reasons  `json:"reasons,omitempty"`
}

// Metric is a figure that a suite's program recorded.
type Metric struct {
	Unit   string             `json:"unit"`
	Better string             `json:"better" jsonschema:"enum=lower,enum=higher,enum="`
	N      int                `json:"n"`
	Stats  map[string]float64 `json:"stats"`
	Values [][]float64        `json:"values"` // by pass, in the order recorded
}

// Batch is a set of streams released by one barrier.
type Batch struct {
	Pass         int      `json:"pass"`
	Streams      []int    `json:"streams"` // indices into samples
	AggregateTPS *float64 `json:"aggregate_tps"`
	SpanTPS      *float64 `json:"whole_span_tps"`
	W0ns         int64    `json:"w0_ns"` // overlap window on the run's clock; 0 where there is none
	W1ns         int64    `json:"w1_ns"`
	WindowTokens float64  `json:"window_tokens"`
	Parallelism  int      `json:"parallelism_observed"`
	Reason       string   `json:"reason,omitempty"`
}

// Sample is one timed request: raw counts and stamps, from which every rate follows.
type Sample struct {
	Pass   int    `json:"pass"`
	Stream int    `json:"stream"` // number within the pass, in order of release
	Raw    string `json:"raw"`    // file and index of the recording: raw/W1.1.json.gz#0
	Error  string `json:"error,omitempty"`

	SchedNS     int64 `json:"t_sched_ns"` // stamps on the run's clock; 0 where never reached
	SendNS      int64 `json:"t_send_ns"`
	FirstByteNS int64 `json:"t_hdr_ns"`
	FirstNS     int64 `json:"t_1_ns"`
	LastNS      int64 `json:"t_L_ns"`
	AnswerNS    int64 `json:"t_ans_ns"`
	EndNS       int64 `json:"t_end_ns"`

	Prompt    Count `json:"prompt"`
	Cached    Count `json:"cached"`
	Output    Count `json:"output"`
	Reasoning Count `json:"reasoning"`

	Events        int             `json:"events"` // m, text-bearing, before merging
	Reads         int             `json:"reads"`
	Merged        int             `json:"events_merged"` // after merging those of one read
	FirstTokens   float64         `json:"first_tokens"`  // n[1]
	WindowTokens  float64         `json:"window_tokens"` // tokens in (t_1, t_L]
	WindowKnown   bool            `json:"window_known"`
	TokensHow     string          `json:"n_i"`
	AskedOutput   int             `json:"asked_output"`
	AskedPrompt   int             `json:"asked_prompt"` // 0: not fitted (a fixed trace)
	Finish        string          `json:"finish"`
	TTFTms        *float64        `json:"ttft_ms"`
	TTFAms        *float64        `json:"ttfa_ms"`
	PrefillTPS    *float64        `json:"prefill_tps"`
	PrefillHow    string          `json:"prefill_method"`
	DecodeTPS     *float64        `json:"decode_tps"`
	DecodeOver    *float64        `json:"decode_tps_over,omitempty"` // by what share it may be too high; absent where it can't be
	WallMs        *float64        `json:"wall_ms"`
	MaxGapMs      *float64        `json:"max_gap_ms"`
	Stalls        *int            `json:"stalls"`
	MaxCached     *int            `json:"max_cached"` // what a perfect prefix cache could have hit
	ServerPrefill *ServerSpan     `json:"server_prefill"`
	ServerDecode  *ServerSpan     `json:"server_decode"`
	ConnReused    bool            `json:"conn_reused"`
	ReadLagMs     float64         `json:"read_lag_ms"` // client's own longest time between two reads
	Flags         []string        `json:"flags"`
	Inputs        *Inputs         `json:"inputs,omitempty"`
	Extra         json.RawMessage `json:"extra,omitempty"`
	Reasons       Reasons         `json:"reasons,omitempty"`
}

// Inputs are what went into a request's figures beside its recording, so that they can be computed again from it.
type Inputs struct {
	Release    int  `json:"release"`     // stream number of the first request of the same release
	Cold       bool `json:"cold"`        // no earlier prompt of the session shares its beginning
	Reuse      bool `json:"reuse"`       // a prompt cache was meant to serve it
	Extends    bool `json:"extends"`     // it goes on with a conversation
	Template   int  `json:"template"`    // tokens before the first message's text; negative where not known
	CacheBlock int  `json:"cache_block"` // tokens; granularity of the server's cache
	TextTokens int  `json:"text_tokens"` // of the streamed text by the server's tokenizer; 0 where not counted
	// of what of it the first read with text brought; 0 where not counted
	FirstTokens int `json:"first_tokens,omitempty"`
}

// ServerSpan is a count and the time that the server says it took; rate = tokens / ns.
type ServerSpan struct {
	Tokens int   `json:"tokens"`
	NS     int64 `json:"ns"`
}

// Count is a number of tokens with its provenance; N is null where unknown.
type Count struct {
	N    *int   `json:"n"`
	From string `json:"from"`
}
