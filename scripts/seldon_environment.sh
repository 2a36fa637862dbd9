#!/usr/bin/env bash
# Make a virtual environment for Seldon Core in DIR, from the locked requirements/seldon.txt.
#
#   scripts/seldon_environment.sh DIR              what cd4ml needs there; run with PYTHONPATH=src
#   scripts/seldon_environment.sh DIR --install    and cd4ml itself, without its own dependencies
#
# cd4ml's own requirements (numpy>=2.1 and more) cannot hold beside Seldon's: hence --no-deps; tests hold what
# serves to the same predictions. Safe to repeat and to interrupt: the stamp is written last.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: scripts/seldon_environment.sh DIR [--install]}
install=${2:-}
lock=$root/requirements/seldon.txt
python=${PYTHON:-python3.11}

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  echo "Seldon Core 1.17.1 runs on Python 3.11; '$python' is not one. Set PYTHON to its path." >&2
  exit 2
fi
# The operating system knows the certificates of a company proxy; uv looks there only when told to.
export UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1
fast() { command -v uv >/dev/null 2>&1; }
want=$(sha256sum <"$lock" | cut -d' ' -f1)
if [ "$(cat "$folder/.installed" 2>/dev/null)" != "$want" ]; then
  echo "Installing Seldon Core into $folder ..." >&2
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  if fast; then
    uv venv --quiet --python "$python" "$folder"
    uv pip sync --quiet --python "$folder/bin/python" --require-hashes "$lock"
  else
    "$python" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  fi
  printf '%s' "$want" >"$folder/.installed"
fi
case $install in
  "") ;;
  --install)
    source=$(mktemp -d)
    trap 'rm -rf "$source"' EXIT
    # A copy: building writes beside its sources.
    cp -R "$root/src" "$root/setup.cfg" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$source"
    if fast; then
      uv pip install --quiet --python "$folder/bin/python" --no-deps --no-build-isolation --reinstall "$source"
    else
      "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --force-reinstall "$source"
    fi
    rm -f "$folder/bin/cd4ml" # the command line needs what is not here
    ;;
  *)
    echo "expected --install or nothing; found '$install'" >&2
    exit 2
    ;;
esac
