// Retrieval-augmented questions: the same instructions every time, then retrieved passages that differ, then the question.
// What does a longer retrieval cost, and how much of the instructions does the server's prefix cache save?
local passages = [2, 8, 32];
local passage = 200, instructions = 600, answer = 96;
local tokens(n) = instructions + n * passage;

{
  schema: 'llm-speed/suite/v1',
  name: 'example-rag',
  version: '1.0.0',
  title: 'RAG prompt',
  engine: 1,
  generator: 'prose/1',
  budget: { default_s: 60, quick_s: 20 },
  workloads: [
    {
      id: 'RAG',
      name: 'retrieve-and-answer',
      doc: 'Three questions over retrieved passages behind shared instructions: time to the first word, and what the cache saved.',
      program: 'rag.star',
      points: [{ passages: n } for n in passages],
      params: { instructions: instructions, passage: passage, output_tokens: answer, questions: 3 },
      needs: [
        { context: tokens(p.passages) + answer + 256, parallel: 1, prompt: 3 * tokens(p.passages), output: 3 * answer }
        for p in self.points
      ],
      quick: { points: [{ passages: 2 }], needs: [{ context: 2048, parallel: 1, prompt: 3 * tokens(2), output: 3 * answer }] },
      metrics: {
        first_question_ms: { unit: 'ms', better: 'lower', stats: ['p50'] },
        later_question_ms: { unit: 'ms', better: 'lower', stats: ['p50', 'max'] },
        cached_tokens_later: { unit: 'tokens', better: 'higher', stats: ['mean'] },
      },
      relative: [{ name: 'times_shortest', metric: 'wall_ms', base: { passages: 2 }, title: 'of the time with two passages' }],
      reports: ['ttft_ms', 'first_question_ms', 'later_question_ms', 'cached_tokens_later', 'wall_ms', 'times_shortest'],
    },
  ],
}
