#!/bin/sh
# Builds the release archives: the program for each platform, with its manual pages, completion scripts, licence and
# README; and a file with their SHA-256. Archives of one commit are the same to the byte.
#
# Usage: scripts/package.sh VERSION [GOOS/GOARCH...]        writes to dist/
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: scripts/package.sh VERSION [GOOS/GOARCH...]}
shift
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/arm64 darwin/amd64 windows/amd64

stamp=$(git log -1 --format=%ct)
work=$(mktemp -d "${TMPDIR:-/tmp}/package.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p dist

# build makes the program for a platform.
build() { LLM_SPEED_VERSION=$version scripts/build.sh "$2" "$1"; }

# The pages and scripts are the same everywhere; the program of this machine writes them.
build "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" "$work/here"
mkdir -p "$work/share/man/man1" "$work/share/completions"
"$work/here" man "$work/share/man/man1"
for shell in bash zsh fish powershell; do
	case $shell in
	bash) name=llm-speed ;;
	zsh) name=_llm-speed ;;
	fish) name=llm-speed.fish ;;
	powershell) name=llm-speed.ps1 ;;
	esac
	"$work/here" completion $shell >"$work/share/completions/$name"
done

# pack makes an archive of a folder whose files all bear the commit's time.
pack() {
	find "$1" -exec touch -d "@$stamp" {} +
	tar --sort=name --owner=0 --group=0 --numeric-owner --format=ustar -C "${1%/*}" -cf - "${1##*/}" | gzip -9n >"$2"
}

(cd dist && rm -f "llm-speed-$version"-*.tar.gz)
for target in "$@"; do
	name=llm-speed-$version-${target%/*}-${target#*/}
	mkdir -p "$work/$name"
	program=llm-speed
	[ "${target%/*}" != windows ] || program=llm-speed.exe
	build "$target" "$work/$name/$program"
	cp -r README.md LICENSE CHANGELOG.md "$work/share/man" "$work/share/completions" "$work/$name/"
	pack "$work/$name" "dist/$name.tar.gz"
	echo "dist/$name.tar.gz"
done
(cd dist && sha256sum "llm-speed-$version"-*.tar.gz >"llm-speed-$version.sha256")
