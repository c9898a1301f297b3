// A model that thinks first: when does the thinking begin, when does the answer, and what does thinking cost?
{
  schema: 'llm-speed/suite/v1',
  name: 'example-think-answer',
  version: '1.0.0',
  title: 'Thinking and answering',
  engine: 1,
  generator: 'prose/1',
  budget: { default_s: 60, quick_s: 20 },
  workloads: [
    {
      id: 'THINK',
      name: 'think-answer',
      doc: 'One question with thinking switched on and off: the first word of any kind, and the first word of the answer.',
      program: 'think.star',
      points: [{ thinking: 'off' }, { thinking: 'on' }],
      params: { prompt_tokens: 300, output_tokens: 256 },
      needs: [{ context: 1024, parallel: 1, prompt: 300, output: 256 }],
      passes: 2,
      quick: { points: [{ thinking: 'on' }], needs: [{ context: 1024, parallel: 1, prompt: 300, output: 256 }] },
      metrics: {
        thought_ms: { unit: 'ms', better: 'lower', stats: ['p50'] },
        thought_share: { unit: '%', better: '', stats: ['p50'] },
      },
      reports: ['ttft_ms', 'ttfa_ms', 'thought_ms', 'thought_share', 'decode_tps', 'reasoning_tokens'],
    },
  ],
}
