package manifest

import (
	_ "embed"
)

// Where the project publishes, and who signs. Each can be set: see self-update --help.
const (
	// DefaultURL is the manifest of the stable channel; its bundle lies beside it, under BundleSuffix.
	DefaultURL     = "https://github.com/llm-speed/llm-speed/releases/download/suites-stable/manifest.jsonnet"
	DefaultChannel = "stable"
	BundleSuffix   = ".sigstore.json"

	// DefaultIdentity is the workflow that signs, as its certificate names it, and DefaultIssuer who vouches for it.
	DefaultIdentity = "https://github.com/llm-speed/llm-speed/.github/workflows/publish-suites.yml@refs/heads/main"
	DefaultIssuer   = "https://token.actions.githubusercontent.com"
)

// TrustedRoot holds the keys of the public sigstore services: certificate authority, transparency logs of both kinds, time
// stamps. It is trusted_root.json of the services' own TUF repository, as the package @sigstore/tuf 5.0.1 ships it;
// docs/publishing.md says how a newer one is made.
//
//go:embed trusted_root.json
var TrustedRoot []byte
