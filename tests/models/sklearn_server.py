"""What KServe's sklearnserver does, which is not on PyPI: `sklearn_server.py FOLDER PORT`."""

import os
import sys
from pathlib import Path

import joblib
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class SklearnLike(Model):
    """Loads model.joblib and predicts matrices with KServe's own reading and writing of requests."""

    def load(self):
        self.model = joblib.load(Path(sys.argv[1]) / "model.joblib")
        self.ready = True
        return True

    def predict(self, payload, headers=None, response_headers=None):
        """Return what the estimator says."""
        rows = get_predict_input(payload)
        proba = os.environ.get("PREDICT_PROBA") == "true" and hasattr(self.model, "predict_proba")
        found = self.model.predict_proba(rows) if proba else self.model.predict(rows)
        return get_predict_response(payload, found, self.name)


if __name__ == "__main__":
    server = SklearnLike("stock")
    server.load()
    ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([server])
