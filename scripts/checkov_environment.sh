#!/usr/bin/env bash
# Make a virtual environment for checkov in DIR, from the locked requirements/checkov.txt.
#
#   scripts/checkov_environment.sh DIR
#
# It is apart because it pins more than a hundred packages, some of them older than ours. Safe to repeat and to
# interrupt: the stamp is written last.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: scripts/checkov_environment.sh DIR}
lock=$root/requirements/checkov.txt
python=${PYTHON:-python3}

want=$(sha256sum <"$lock" | cut -d' ' -f1)
[ "$(cat "$folder/.installed" 2>/dev/null)" != "$want" ] || exit 0
# The operating system knows the certificates of a company proxy; uv looks there only when told to.
export UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1
echo "Installing checkov into $folder ..." >&2
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
if command -v uv >/dev/null 2>&1; then
  uv venv --quiet --python "$python" "$folder"
  uv pip sync --quiet --python "$folder/bin/python" --require-hashes "$lock"
else
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
fi
printf '%s' "$want" >"$folder/.installed"
