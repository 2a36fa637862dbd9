import os
import subprocess
import sys
from pathlib import Path

from tests.models.bundles import bundle

CODE = """
import sys
from pathlib import Path
from cd4ml.models.session import open_session
open_session((Path(sys.argv[1]) / "model.onnx").read_bytes())
"""


def test_a_session_tells_nobody_and_leaves_nothing_in_the_users_folders(tmp_path):
    folders = {name: str(tmp_path / name) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    for folder in folders.values():
        Path(folder).mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", CODE, str(bundle("people"))],
        env=environment | folders,
        check=True,
        timeout=60,
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
