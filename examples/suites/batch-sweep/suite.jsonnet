// How many users can a server take? The same request from 1 to 16 at once.
local sizes = [1, 2, 4, 8, 16];
local prompt = 512, output = 128;

{
  schema: 'llm-speed/suite/v1',
  name: 'example-batch-sweep',
  version: '1.0.0',
  title: 'Batch size sweep',
  engine: 1,
  generator: 'prose/1',
  budget: { default_s: 90, quick_s: 20 },
  workloads: [
    {
      id: 'SWEEP',
      name: 'batch-sweep',
      doc: 'Streams of one shape, ever more at once: what the server gives in all, and what each user feels.',
      program: 'sweep.star',
      points: [{ users: n } for n in sizes],
      params: { prompt_tokens: prompt, output_tokens: output, slow_ttft_ms: 2000 },
      // Every point asks for the largest batch, so that one server serves them all.
      needs: [{ context: 1024, parallel: 16, prompt: n * prompt, output: output } for n in sizes],
      quick: { points: [{ users: 1 }, { users: 4 }], needs: [{ context: 1024, parallel: 4, prompt: n * prompt, output: output } for n in [1, 4]] },
      metrics: { users_that_waited: { unit: 'users', better: 'lower', stats: ['max'] } },
      relative: [{ name: 'scaling', metric: 'aggregate_tps', base: { users: 1 }, title: 'times one user' }],
      reports: ['aggregate_tps', 'scaling', 'per_stream_tps', 'fairness', 'ttft_ms', 'ttft_max_ms', 'users_that_waited'],
    },
  ],
}
