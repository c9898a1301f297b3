// Every version that was ever published, newest last. docs/publishing.md says how it is changed; the workflow gives it its
// version and its dates.
{
  _type: 'llm-speed/manifest/v1',
  channel: 'stable',
  epoch: 1,
  version: 1,
  issued: '2026-01-01T00:00:00Z',
  expires: '2026-01-02T00:00:00Z',
  suites: [
    {
      name: 'suite-v1',
      version: '1.0.0',
      url: 'suite-v1-1.0.0.tar.gz',
      length: 114209,
      sha256: '02cac7efd48d9d816b1db936da6a88e9120821614d20512a1389815412451db3',
      engine: 1,
      status: 'current',
    },
  ],
}
