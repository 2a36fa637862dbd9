#!/usr/bin/env bash
# Make .venv from the locked, hashed requirements, install cd4ml into it and compile bytecode.
#
#   scripts/install.sh [REQUIREMENTS]        default: requirements/dev.txt
#
# Safe to repeat and to interrupt: the stamp is written last, and an unchanged lock does no work.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=${1:-requirements/dev.txt}
python=${PYTHON:-python3}
stamp=.venv/.installed
want=$(cat "$requirements" setup.cfg pyproject.toml scripts/install.sh | sha256sum | cut -d' ' -f1)
if [ -x .venv/bin/cd4ml ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then exit 0; fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "cd4ml needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Set PYTHON to another one." >&2
  exit 2
fi
# A later `import kserve` takes 4-7 s from source and 1.3 s from bytecode: compile whatever the environment says.
unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
# The operating system knows the certificates of a company proxy; uv looks there only when told to.
export UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1
if command -v uv >/dev/null 2>&1; then
  echo "Installing into .venv with uv (about a minute the first time) ..." >&2
  [ -x .venv/bin/python ] || uv venv --quiet --python "$python" .venv
  uv pip sync --quiet --python .venv/bin/python --require-hashes "$requirements"
  uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
else
  echo "Installing into .venv with pip (about two minutes the first time) ..." >&2
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r "$requirements"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
fi
# Some packages ship files of other Python versions that do not compile; they are never imported.
.venv/bin/python -m compileall -q -j 0 "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')" src >/dev/null 2>&1 || true
printf '%s' "$want" >"$stamp"
