#!/bin/sh
# Builds Ollama with the Go toolchain into a private folder, for the tests that
# need a real server. It is the CPU runner alone: no CUDA, no ROCm, no Metal.
#
# It needs Linux or macOS, Go, a C and C++ compiler, and the headers
# nlohmann/json.hpp and stb_image.h; on a Debian-like system it installs what of
# these is missing through apt, which needs root. The module of Ollama holds its
# own sources of llama.cpp; one header that it leaves out, miniaudio.h, is taken
# from the Go module that carries it. Neither touches the go.mod of this
# repository. A build takes about seven minutes on two cores and is kept.
#
# Usage: scripts/install-ollama.sh        prints the folder of the program
#   LLM_SPEED_CACHE          cache folder (default: ~/.cache/llm-speed-ci)
#   LLM_SPEED_OLLAMA_VERSION version to build (default: the one tested, below)
set -eu

version=${LLM_SPEED_OLLAMA_VERSION:-0.17.4}
version=${version#v}
malgo=v0.11.24

# Without these, the compute code is plain C, and ten times as slow.
vectors=
if grep -qw avx2 /proc/cpuinfo 2>/dev/null && grep -qw fma /proc/cpuinfo && grep -qw f16c /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo; then
	vectors=" -mavx -mavx2 -mfma -mf16c -mbmi2"
fi

cache=${LLM_SPEED_CACHE:-$HOME/.cache/llm-speed-ci}
kept=$cache/ollama-$version${vectors:+-avx2}
bin=$cache/bin
log=$cache/ollama.log

say() { echo "install-ollama: $*" >&2; }
die() { say "$*"; exit 1; }

# publish puts the program of this version where the tests look for it.
publish() {
	mkdir -p "$bin"
	ln -sfn "$kept/ollama" "$bin/ollama"
	echo "$bin"
}

# answers tells whether the program runs on this machine and is of the version.
answers() { "$kept/ollama" --version 2>/dev/null | grep -qF "$version"; }

if [ -x "$kept/ollama" ] && answers; then
	publish
	exit 0
fi

command -v go >/dev/null || die "go is missing: install the toolchain that go.mod names"
case $(uname -s) in
Linux | Darwin) ;;
*) die "this needs Linux or macOS, not $(uname -s)" ;;
esac

# has_header tells whether the C++ compiler finds a header.
has_header() { echo "#include <$1>" | ${CXX:-c++} -E -x c++ - >/dev/null 2>&1; }

# missing lists the Debian packages for what this host lacks.
missing() {
	command -v "${CXX:-c++}" >/dev/null || echo g++
	command -v "${CC:-cc}" >/dev/null || echo gcc
	has_header nlohmann/json.hpp || echo nlohmann-json3-dev
	has_header stb/stb_image.h || echo libstb-dev
}

need=$(missing | tr '\n' ' ')
if [ -n "$need" ]; then
	command -v apt-get >/dev/null || die "missing: $need(Debian's names); install their like by hand"
	[ "$(id -u)" = 0 ] || die "missing: $need; installing them needs root: apt-get install $need"
	say "installing $need"
	# The names are a list, so they are not quoted.
	# shellcheck disable=SC2086
	{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need; } >&2
	need=$(missing | tr '\n' ' ')
	[ -z "$need" ] || die "still missing after the installation: $need"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/install-ollama.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Away from this repository, the go command takes no notice of its go.mod.
cd "$work"
say "fetching the header miniaudio.h"
audio=$(go mod download -json "github.com/gen2brain/malgo@$malgo" |
	sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
[ -n "$audio" ] || die "the module github.com/gen2brain/malgo@$malgo could not be fetched"
header=$(find "$audio" -name miniaudio.h | head -n 1)
[ -n "$header" ] || die "no miniaudio.h in $audio"
mkdir -p "$work/include/miniaudio"
cp "$header" "$work/include/miniaudio/miniaudio.h"

# Ollama's sources include stb_image.h as stb/stb_image.h or bare.
flags="-O3$vectors -I$work/include -I/usr/include/stb"
mkdir -p "$cache" "$work/bin"
say "building ollama $version: about seven minutes on two cores; log: $log"
GOBIN=$work/bin GOFLAGS="-mod=mod -trimpath" CGO_ENABLED=1 \
	CGO_CFLAGS="$flags" CGO_CXXFLAGS="$flags" \
	go install -ldflags "-s -w -X github.com/ollama/ollama/version.Version=$version" \
	"github.com/ollama/ollama@v$version" >"$log" 2>&1 ||
	{ tail -n 20 "$log" >&2; die "the build failed; log: $log"; }

mkdir -p "$kept"
mv "$work/bin/ollama" "$kept/ollama"
answers || die "ollama was built, but does not say that it is $version; log: $log"
publish
