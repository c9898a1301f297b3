#!/usr/bin/env bash
# Packs, checks and lists the suites of a channel, ready to be signed: publish-suites.sh TO [PREVIOUS].
# TO gets the archives and manifest.jsonnet. PREVIOUS is the manifest that was published last; left out, this is the first.
# publish/manifest.jsonnet lists every version that was ever published, publish/suites.txt the folders that are packed now;
# others are published already. LLM_SPEED is the program. See docs/publishing.md.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${LLM_SPEED:-./llm-speed}
from=${LLM_SPEED_PUBLISH:-publish}
to=$1
after=()
if [ -n "${2:-}" ]; then after=(--after "$2"); fi

mkdir -p "$to"
while read -r folder; do
  if [ -z "$folder" ]; then continue; fi
  "$bin" suite check "./$folder"
  if [ -e "$folder/suite_test.star" ]; then "$bin" suite test "./$folder"; fi
  "$bin" suite pack "./$folder" -o "$to"
done < "$from/suites.txt"
"$bin" manifest renew "$from/manifest.jsonnet" --archives "$to" ${after[@]+"${after[@]}"} -o "$to/manifest.jsonnet"
"$bin" manifest check "$to/manifest.jsonnet" ${after[@]+"${after[@]}"}
