"""KServe's ModelServer as others use it: scikit-learn as in its sklearnserver, or a constant."""

import argparse
from pathlib import Path
from typing import Any

from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class Estimator(Model):
    """What KServe's sklearnserver does with a request."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        import joblib

        self._model = joblib.load(path)
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        found = self._model.predict(get_predict_input(payload))
        return get_predict_response(payload, found, self.name)


class Constant(Model):
    """The floor: KServe with a model that does nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        return {"predictions": [0.0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--joblib", type=Path)
    parser.add_argument("--port", type=int, required=True)
    told, _ = parser.parse_known_args()
    model = Estimator("model", told.joblib) if told.joblib else Constant("model")
    ModelServer(http_port=told.port, enable_grpc=False).start([model])


if __name__ == "__main__":
    main()
