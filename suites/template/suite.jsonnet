// What a suite runs. `llm-speed suite check .` finds mistakes, `llm-speed suite test .` tries it on the simulator,
// `llm-speed bench --suite .` runs it, `llm-speed suite docs` tells what programs can call.
{
  schema: 'llm-speed/suite/v1',
  name: 'NAME',  // small letters, digits, dots and dashes
  version: '0.1.0',  // raise it with every change: results of two versions are never compared
  title: 'My suite',  // for people
  engine: 1,  // what the programs build on
  generator: 'prose/1',  // of the prompts' text
  budget: { default_s: 60, quick_s: 15 },  // seconds that a run gives itself; passes are added while there is time

  workloads: [
    {
      id: 'A1',
      name: 'answer-length',
      doc: 'Answers of several lengths to one kind of question: does the speed hold?',  // one sentence on what is measured
      program: 'answer_length.star',
      // One row of the result each. The program finds it in w.point.
      points: [{ output: 64 }, { output: 256 }],
      // What the program finds in w.params.
      params: { prompt_tokens: 200 },
      // What a row asks of the backend, one for each point: tokens of context for a stream, streams at once, and prompt and
      // output tokens of a pass, which predict how long it takes; a pass that asks for over four times as many is stopped.
      needs: [{ context: 512, parallel: 1, prompt: 200, output: p.output } for p in self.points],
      passes: 2,  // at least so many
      // With --quick; what is left out stays as above.
      quick: { points: [{ output: 64 }], needs: [{ context: 512, parallel: 1, prompt: 200, output: 64 }] },
      // Figures of your own, which the program gives to w.record.
      metrics: { ms_per_token: { unit: 'ms', better: 'lower', stats: ['p50', 'max'] } },
      // Ratios between rows.
      relative: [{ name: 'speed_held', metric: 'decode_tps', base: { output: 64 }, title: 'decode speed left' }],
      // What the table shows, in this order.
      reports: ['ttft_ms', 'decode_tps', 'speed_held', 'ms_per_token'],
    },
  ],
}
