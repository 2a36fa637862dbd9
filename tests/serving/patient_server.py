"""Run as a process: two workers whose parent soon takes one of them for hung."""

import sys
from pathlib import Path


def main(followed: Path, port: int) -> None:
    from cd4ml.adapters.served_file import ServedFile
    from cd4ml.serving.predictor import BundlePredictor
    from cd4ml.serving.rest import Server, Settings

    desired = ServedFile(followed).read()
    model = BundlePredictor("m", Path(desired.bundle), version=desired.version)
    Server(Settings(http_port=port, workers=2, follow=followed, hung_seconds=4.0)).start([model])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
