#!/bin/sh
# Runs the tests, against a real llama-server too where one is installed or can be (Debian and its kin, as root).
set -eu
cd "$(dirname "$0")/.."
if [ -z "${LLM_SPEED_LLAMA_SERVER:-}" ] && ! command -v llama-server >/dev/null 2>&1; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		LLM_SPEED_LLAMA_SERVER="$(scripts/install-llama-server.sh | tail -n 1)/llama-server"
		export LLM_SPEED_LLAMA_SERVER
	else
		echo "no llama-server on PATH: the tests against the real server will say that they were skipped" >&2
	fi
fi
# One package after another: what measures time wants the machine to itself.
exec go test -p 1 -timeout 40m "$@" ./...
