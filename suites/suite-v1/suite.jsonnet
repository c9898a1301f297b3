// The first public suite: five workloads of a person's daily use of a language model.
// Sizes are tokens of the backend's own tokenizer, chat template included.

// What a point needs of the backend. Context leaves 2 % and 64 tokens of room for the chat template and the salt.
local need(prompt, output, parallel=1, streams=1) = {
  context: std.ceil((prompt + output) * 1.02) + 64,
  parallel: parallel,
  prompt: prompt * streams,
  output: output,
};

// A context of c tokens is filled by prompt and answer together, so that a model of exactly that context can run it.
local longContext(context, output) = { context: context, parallel: 1, prompt: context - output, output: output };
// Every point asks for the largest batch, so that one server serves them all.
local batch(size, prompt, output, largest) = need(prompt, output, parallel=largest, streams=size);

{
  schema: 'llm-speed/suite/v1',
  name: 'suite-v1',
  version: '1.0.0',
  title: 'LLM speed, suite 1',
  engine: 1,
  generator: 'prose/1',
  budget: { default_s: 110, quick_s: 25 },

  workloads: [
    {
      id: 'W1',
      name: 'chat-short',
      doc: 'A short question to an idle server and an answer of a few paragraphs: how soon it starts and how fast it flows.',
      program: 'w1_chat_short.star',
      params: { prompt_tokens: 128, output_tokens: 256 },
      needs: [need(128, 256)],
      passes: 5,
      quick: { params: { output_tokens: 64 }, needs: [need(128, 64)] },
      reports: ['ttft_ms', 'prefill_tps', 'decode_tps', 'decode_p50_latency_ms', 'decode_p95_latency_ms', 'max_gap_ms', 'wall_ms'],
    },
    {
      id: 'W2',
      name: 'chat-long',
      doc: 'A prompt of several pages and a long answer: prefill speed, and decode speed held over a thousand tokens.',
      program: 'w2_chat_long.star',
      params: { prompt_tokens: 4096, output_tokens: 1024 },
      needs: [need(4096, 1024)],
      quick: { params: { prompt_tokens: 2048, output_tokens: 256 }, needs: [need(2048, 256)] },
      reports: ['ttft_ms', 'prefill_tps', 'decode_tps', 'decode_p50_latency_ms', 'decode_p95_latency_ms', 'max_gap_ms', 'wall_ms'],
    },
    {
      id: 'W3',
      name: 'long-context-decay',
      doc: 'The same short answer after ever longer prompts; prompt and answer together fill the context: how much of the speed is left.',
      program: 'w3_long_context_decay.star',
      points: [{ context: c } for c in [32768, 65536, 131072]],
      params: { output_tokens: 256 },
      needs: [longContext(p.context, 256) for p in self.points],
      quick: {
        points: [{ context: c } for c in [8192, 16384]],
        params: { output_tokens: 72 },
        needs: [longContext(p.context, 72) for p in self.points],
      },
      // Without a base: to the shortest context that was run.
      relative: [
        { name: 'decode_decay', metric: 'decode_tps', title: 'decode speed left' },
        { name: 'prefill_decay', metric: 'prefill_tps', title: 'prefill speed left' },
      ],
      reports: ['ttft_ms', 'prefill_tps', 'decode_tps', 'decode_decay', 'prefill_decay', 'decode_p50_latency_ms', 'decode_p95_latency_ms', 'wall_ms'],
    },
    {
      id: 'W4',
      name: 'concurrent-decode',
      doc: 'Several streams released at once: what the server gives in all, and what is left for each.',
      program: 'w4_concurrent_decode.star',
      points: [{ batch: b } for b in [1, 4, 8, 16]],
      params: { prompt_tokens: 1024, output_tokens: 256 },
      needs: [batch(p.batch, 1024, 256, largest=16) for p in self.points],
      quick: {
        // Short prompts: the streams shall overlap also where a server takes prompts one after another.
        points: [{ batch: 4 }],
        params: { prompt_tokens: 256, output_tokens: 128 },
        needs: [batch(4, 256, 128, largest=4)],
      },
      relative: [{ name: 'scaling', metric: 'aggregate_tps', base: { batch: 1 }, title: 'times one stream' }],
      reports: ['aggregate_tps', 'per_stream_tps', 'per_stream_p5_tps', 'scaling', 'fairness', 'ttft_ms', 'ttft_max_ms', 'whole_span_tps', 'parallelism_observed', 'wall_ms'],
    },
    {
      id: 'W5',
      name: 'agent-trace',
      doc: 'A recorded session of a coding agent, turn by turn, whose context grows to about 16,000 tokens and reuses its prefix.',
      program: 'w5_agent_trace.star',
      // The trace is fixed text: a tokenizer makes of it what it makes. The point names about where it ends.
      points: [{ context: 16384 }],
      params: { trace: import 'data/trace.json', turns: std.length(self.trace.turns) },
      // Tokenizers differ by a fifth on code.
      needs: [{ context: 20000, parallel: 1, prompt: 15500, output: 1000 }],
      quick: {
        points: [{ context: 4096 }],
        params: { turns: 3 },
        needs: [{ context: 6000, parallel: 1, prompt: 4000, output: 175 }],
      },
      metrics: { turn_ms: { unit: 'ms', better: 'lower', stats: ['p50', 'p95'] } },
      reports: ['wall_ms', 'turn_p50_ms', 'turn_p95_ms', 'prefix_cache_hit_rate', 'prefix_cache_max', 'total_output_tokens', 'warm_ttft_ms', 'cold_ttft_ms', 'turn_ms', 'context_final_tokens'],
    },
  ],
}
