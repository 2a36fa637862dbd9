#!/usr/bin/env bash
# Keep a token of this GitHub job, made by OpenID Connect, in a file: kfp-token.sh FILE AUDIENCE [SECONDS]
#
# There is no long-lived secret: Kubeflow's gateway trusts tokens of GitHub for this repository and audience.
# A token lives for some minutes and a run for hours, so it is fetched anew until the job ends.
set -euo pipefail
umask 077
file=$1 audience=$2 every=${3:-240}
fetch() { # what is secret stays in the environment: arguments are seen by every process of the machine
  AUDIENCE=$audience python3 - >"$file.new" <<'PYTHON'
import json, os, urllib.parse, urllib.request

address = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] + "&audience=" + urllib.parse.quote(os.environ["AUDIENCE"])
bearer = {"Authorization": "bearer " + os.environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]}
with urllib.request.urlopen(urllib.request.Request(address, headers=bearer), timeout=30) as answer:
    print(json.load(answer)["value"])
PYTHON
  mv "$file.new" "$file"
}
fetch
(while sleep "$every"; do fetch || true; done) </dev/null >/dev/null 2>&1 &
