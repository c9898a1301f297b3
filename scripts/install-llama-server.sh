#!/bin/sh
# Installs Debian's llama.cpp (llama-server, llama-bench, ...) into a private
# tree below a cache folder, for the tests that need a real server.
#
# It needs a Debian-like x86_64 system and root, changes nothing of the host
# but two things: the debootstrap package, when it is missing, and one
# symbolic link, because the program looks for its compute back ends in
# /usr/lib/x86_64-linux-gnu/ggml/backends0.
#
# Usage: scripts/install-llama-server.sh        prints the folder of the wrappers
#   LLM_SPEED_CACHE   cache folder (default: ~/.cache/llm-speed-ci)
#   LLM_SPEED_MIRROR  Debian mirror (default: the one that apt uses here)
set -eu

cache=${LLM_SPEED_CACHE:-$HOME/.cache/llm-speed-ci}
tree=$cache/sid
bin=$cache/bin
stamp=$cache/sid.ready
backends=/usr/lib/x86_64-linux-gnu/ggml/backends0
programs="llama-server llama-bench llama-tokenize llama-cli"

say() { echo "install-llama-server: $*" >&2; }
die() { say "$*"; exit 1; }

# mirror prints the Debian archive that apt is configured with on this host.
mirror() {
	if [ -n "${LLM_SPEED_MIRROR:-}" ]; then
		echo "$LLM_SPEED_MIRROR"
		return
	fi
	# An Ubuntu host has mirrors too, but no sid on them.
	found=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 2>/dev/null |
		sed -n 's/^Debian|Debian|//p' | head -n 1) || found=
	if [ -z "$found" ]; then
		found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
			grep -v '^ *#' | grep -o 'https\?://[^ ]*/debian/\? *$\|https\?://[^ ]*/debian/\? ' |
			tr -d ' ' | head -n 1) || found=
	fi
	echo "${found:-http://deb.debian.org/debian}"
}

# link_backends makes the compute back ends visible where the program looks.
link_backends() {
	if [ ! -e "$backends" ]; then
		[ "$(id -u)" = 0 ] || die "$backends is missing, and making it needs root"
		mkdir -p "${backends%/*}"
		ln -sfn "$tree$backends" "$backends"
	fi
}

if [ -e "$stamp" ] && [ -x "$bin/llama-server" ]; then
	link_backends
	echo "$bin"
	exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || die "this needs Linux on x86_64, not $(uname -sm)"
command -v apt-get >/dev/null || die "this needs a Debian-like system with apt-get"
[ "$(id -u)" = 0 ] || die "this needs root, for debootstrap"

export DEBIAN_FRONTEND=noninteractive
if ! command -v debootstrap >/dev/null || [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
	say "installing debootstrap"
	{ apt-get update && apt-get install -y --no-install-recommends debootstrap debian-archive-keyring; } >&2
fi

mkdir -p "$cache" "$bin"
rm -rf --one-file-system "$tree" "$stamp"
from=$(mirror)
say "making a minimal Debian tree from $from in $tree"
debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
	sid "$tree" "$from" >"$cache/debootstrap.log" 2>&1 ||
	{ tail -n 20 "$cache/debootstrap.log" >&2; die "debootstrap failed; log: $cache/debootstrap.log"; }

# The tree takes the proxies and the certificates of the host's apt.
apt-config dump | grep -i '^Acquire::http[s]*::' >"$tree/etc/apt/apt.conf.d/90host" || true
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
	mkdir -p "$tree/etc/ssl/certs"
	cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
fi
[ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$tree/etc/resolv.conf"

say "installing llama.cpp"
{
	chroot "$tree" apt-get -o Acquire::Check-Valid-Until=false update &&
		chroot "$tree" apt-get install -y --no-install-recommends llama.cpp llama.cpp-tools llama.cpp-tools-extra
} >"$cache/apt.log" 2>&1 ||
	{ tail -n 20 "$cache/apt.log" >&2; die "the installation failed; log: $cache/apt.log"; }
chroot "$tree" apt-get clean

# A wrapper runs a program of the tree with the tree's own libraries, and
# becomes it, so that its pid and its signals are the program's.
lib=$tree/usr/lib/x86_64-linux-gnu
for program in $programs; do
	[ -e "$tree/usr/bin/$program" ] || continue
	cat >"$bin/$program" <<WRAPPER
#!/bin/sh
exec "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$lib:$lib/llama:$lib/ggml:$lib/llama.cpp:$lib/blas:$lib/lapack" "$tree/usr/bin/$program" "\$@"
WRAPPER
	chmod 755 "$bin/$program"
done

link_backends
"$bin/llama-server" --version >&2 || die "llama-server was installed, but does not run; log: $cache/apt.log"
: >"$stamp"
echo "$bin"
