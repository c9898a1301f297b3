#!/bin/sh
# Installs Debian's cosign beside the llama-server of scripts/install-llama-server.sh, in the same private tree below the
# cache folder, for the tests that verify what the real cosign has signed.
#
# Usage: scripts/install-cosign.sh        prints the folder of the wrapper
#   LLM_SPEED_CACHE   cache folder (default: ~/.cache/llm-speed-ci)
set -eu

cache=${LLM_SPEED_CACHE:-$HOME/.cache/llm-speed-ci}
tree=$cache/sid
bin=$cache/bin
here=${0%/*}

say() { echo "install-cosign: $*" >&2; }
die() { say "$*"; exit 1; }

if [ -x "$bin/cosign" ] && "$bin/cosign" version >/dev/null 2>&1; then
	echo "$bin"
	exit 0
fi
[ -e "$cache/sid.ready" ] || "$here/install-llama-server.sh" >/dev/null
say "installing cosign"
{
	chroot "$tree" apt-get -o Acquire::Check-Valid-Until=false update &&
		DEBIAN_FRONTEND=noninteractive chroot "$tree" apt-get install -y --no-install-recommends cosign
} >"$cache/cosign.log" 2>&1 ||
	{ tail -n 20 "$cache/cosign.log" >&2; die "the installation failed; log: $cache/cosign.log"; }
chroot "$tree" apt-get clean

lib=$tree/usr/lib/x86_64-linux-gnu
cat >"$bin/cosign" <<WRAPPER
#!/bin/sh
exec "$tree/lib64/ld-linux-x86-64.so.2" --library-path "$lib" "$tree/usr/bin/cosign" "\$@"
WRAPPER
chmod 755 "$bin/cosign"
"$bin/cosign" version >&2 || die "cosign was installed, but does not run; log: $cache/cosign.log"
echo "$bin"
