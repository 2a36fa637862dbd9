"""Hold manifests and images against yamllint, hadolint and checkov: `make lint-manifests`.

checkov sees what is applied: every overlay and environment as kubectl renders it. It does not know the kinds
of KServe and Seldon, so the pods that their controllers make of them are written beside as plain Pods.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["builds", "main", "pods", "rendered"]

ROOT = Path(__file__).resolve().parents[1]
_POD_FIELDS = (
    "automountServiceAccountToken",
    "enableServiceLinks",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "topologySpreadConstraints",
)
_MODE = "serving.kserve.io/deploymentMode"
_KNATIVE = ("CKV_K8S_29=Knative refuses a context of the pod; each container has its own",)
_SELDON = tuple(f"CKV_K8S_{number}=Seldon's operator adds the probe" for number in (8, 9))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the linters; return 0 when all are content, 1 when one is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkov", default="checkov", help="The command, or its path in a venv of its own.")
    parser.add_argument("--bin", type=Path, default=Path(sys.executable).parent, help="Where the others are.")
    given = parser.parse_args(arguments)
    images = sorted((ROOT / "images").glob("*/Dockerfile"))
    yamllint = [str(given.bin / "yamllint"), "--strict", "-c", ".yamllint.yaml", "manifests"]
    passed = [_run("yamllint", yamllint)]
    if images:
        passed.append(_run("hadolint", [str(given.bin / "hadolint"), *map(str, images)]))
    with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
        files = [*_written(Path(folder)), *images]
        which = [word for file in files for word in ("--file", str(file))]
        passed.append(_run("checkov", [given.checkov, "--config-file", ".checkov.yaml", *which]))
    return 0 if all(passed) else 1


def builds(root: Path = ROOT) -> list[Path]:
    """Return the folders of manifests that are applied as they are."""
    manifests = root / "manifests"
    several = [path for name in ("overlays", "environments") for path in sorted((manifests / name).iterdir())]
    return [
        *several,
        *(manifests / name for name in ("cluster-runtime", "routes/gateway-api-knative", "seldon")),
    ]


def rendered(folder: Path, kubectl: str) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(documents: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the pods that KServe and Seldon make of custom resources, as plain Pods."""
    runtimes = {one["metadata"]["name"]: one["spec"] for one in documents if one["kind"] == "ServingRuntime"}
    for one in documents:
        if one["kind"] == "InferenceService":
            for number, predictor in enumerate(_predictors(one["spec"])):
                runtime = runtimes[predictor["model"]["runtime"]]
                spec = {key: predictor[key] for key in _POD_FIELDS if key in predictor}
                spec |= {"containers": runtime["containers"], "volumes": runtime["volumes"]}
                # The account says it where Knative, which refuses the field, makes the pod.
                spec = {"automountServiceAccountToken": False, **spec}
                knative = one["metadata"]["annotations"][_MODE] == "Knative"
                yield _pod(one, number, spec, _KNATIVE if knative else ())
        elif one["kind"] == "SeldonDeployment":
            specs = [part["spec"] for each in one["spec"]["predictors"] for part in each["componentSpecs"]]
            for number, spec in enumerate(specs):
                yield _pod(one, number, spec, _SELDON)


def _predictors(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [spec["predictor"], *(entry["predictor"] for entry in spec.get("canary", ()))]


def _pod(owner: dict[str, Any], number: int, spec: dict[str, Any], skipped: Sequence[str]) -> dict[str, Any]:
    name = f"{owner['kind']}-{owner['metadata']['name']}-{number}".lower()
    metadata = {
        "name": name,
        "namespace": owner["metadata"].get("namespace", "cd4ml"),
        "annotations": {f"checkov.io/skip{place}": why for place, why in enumerate(skipped, start=1)},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _written(folder: Path) -> list[Path]:
    """Write each build to a file, with the pods of its custom resources; [] where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        _say("checkov: manifests SKIPPED, for kubectl, which renders them, is not installed")
        return []
    files = []
    for build in builds():
        documents = rendered(build, kubectl)
        path = folder / f"{build.parent.name}-{build.name}.yaml"
        path.write_text(yaml.safe_dump_all([*documents, *pods(documents)]), encoding="utf-8")
        files.append(path)
    return files


def _run(name: str, command: Sequence[str]) -> bool:
    start = time.monotonic()
    try:
        code = subprocess.run(command, cwd=ROOT, check=False, timeout=600).returncode
    except FileNotFoundError:
        _say(f"{name}: '{command[0]}' is not installed")
        return False
    _say(f"{name}: {'clean' if code == 0 else 'FAILED'} in {time.monotonic() - start:.1f} s")
    return code == 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
