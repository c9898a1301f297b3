#!/bin/sh
# Builds the small program of a release, without cgo, for this platform or another.
#
# The tags leave out what it never uses: grpc's debugging pages (with their templates the linker would keep every method of
# every package: a fifth of the size) and net/http's HTTP/2 (streams have their own reader of HTTP/1.1). Nothing is inlined
# but in the standard library and in what a stream's bytes and a suite's steps pass through: 0.7 MB less.
#
# Usage: scripts/build.sh OUT [GOOS/GOARCH]
#        scripts/build.sh --flags   prints its flags for GOFLAGS, so that another command can use what it has compiled
#   LLM_SPEED_VERSION  version that the program says it is (default: devel)
set -eu
out=${1:?usage: scripts/build.sh OUT [GOOS/GOARCH]}
case $out in /* | --flags) ;; *) out=$PWD/$out ;; esac
cd "$(dirname "$0")/.."
if [ $# -gt 1 ]; then
	GOOS=${2%/*} GOARCH=${2#*/}
	export GOOS GOARCH
fi
module=github.com/llm-speed/llm-speed
set -- -trimpath -tags=grpcnotrace,nethttpomithttp2 -gcflags=all=-l -gcflags=std=
for hot in drivers/... engine builtins internal/stream internal/clock internal/measure internal/calibrate internal/sim; do
	set -- "$@" "-gcflags=$module/$hot="
done
set -- "$@" '-gcflags=go.starlark.net/...='
if [ "$out" = --flags ]; then
	echo "$*"
	exit
fi
CGO_ENABLED=0 exec go build "$@" \
	-ldflags "-s -w${LLM_SPEED_VERSION:+ -X $module/cmd/internal/cli.release=$LLM_SPEED_VERSION}" -o "$out" ./cmd/llm-speed
