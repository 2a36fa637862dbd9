"""The README and the examples of a portable model."""

from __future__ import annotations

from collections.abc import Sequence

from cd4ml.models.runtime import Bundle

__all__ = ["readme_text"]

_HEAD = """# {name}

{description}

Bundle `{bundle}`. {files}

| file | what it is |
|---|---|
| `model.onnx` | the model: `features`, float32 `[rows, {count}]`, in; `prediction`, float32 `[rows]`, out |
{more}| `contract.json` | each feature: position, name and how it is made of a row |
| `features.schema.json` | JSON Schema of one row of features |
| `sample.json` | holdout rows with the predictions that were judged: test with them |
| `portable.json` | the SHA-256 of each file |

NaN is "no value"; JSON has null for it. Round features to float32. A prediction must be within 1e-5 of
max(1, |y|) of the sample's. Use one thread within a prediction where the last digit matters.

{folded}
## Python

```python
import json

import numpy as np
import onnxruntime

sample = json.load(open("sample.json"))
features = np.array(sample["features"], dtype=np.float32)  # null becomes NaN
session = onnxruntime.InferenceSession("model.onnx")
found = session.run(["prediction"], {{"features": features}})[0]
expected = np.array(sample["prediction"])
print((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max() <= 1e-5)
```

## JavaScript

With `npm install onnxruntime-node` (in a browser `onnxruntime-web`, the same calls):

```js
import {{ readFileSync }} from "node:fs";
import * as ort from "onnxruntime-node";

const sample = JSON.parse(readFileSync("sample.json", "utf8"));
const flat = sample.features.flat().map((value) => (value === null ? NaN : value));
const session = await ort.InferenceSession.create("model.onnx");
const features = new ort.Tensor("float32", Float32Array.from(flat), [sample.features.length, {count}]);
const {{ prediction }} = await session.run({{ features }});
const off = sample.prediction.map((y, i) => Math.abs(prediction.data[i] - y) / Math.max(1, Math.abs(y)));
console.log(Math.max(...off) <= 1e-5);
```
"""
_FOLDED = """## Rows instead of features

`rows-model.onnx` makes the features itself. It has one input of shape `[rows, 1]` for each column:
float64 for numbers and flags (null is NaN), text for categories (null is `<null>`; a text that training did
not see is right and counts as rare). It checks nothing: `rows.schema` in `contract.json` says what a row may
have.

```python
import json

import numpy as np
import onnxruntime

sample = json.load(open("sample.json"))
session = onnxruntime.InferenceSession("rows-model.onnx")
inputs = {}
for wanted in session.get_inputs():
    values = [row.get(wanted.name) for row in sample["rows"]]
    if wanted.type == "tensor(string)":
        inputs[wanted.name] = np.array([["<null>" if v is None else v] for v in values], dtype=object)
    else:
        inputs[wanted.name] = np.array([[np.nan if v is None else v] for v in values], dtype=np.float64)
found = session.run(["prediction"], inputs)[0]
expected = np.array(sample["prediction"])
print((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max() <= 1e-5)
```
"""
_NOT_FOLDED = """## Features are yours to make

{why}: the model takes features alone. Where you cannot make them, embed the model (Python) or call its
server.
"""


def readme_text(bundle: Bundle, outputs: Sequence[str], why: str) -> str:
    """Return README.md of a portable folder.

    Parameters
    ----------
    why : str
        Why there is no model that takes rows; "" where there is one.
    """
    more = ""
    if "quantile" in outputs:
        more += f"| `model-quantile.onnx` | the quantile {bundle.quantile}, the same way |\n"
    if not why:
        more += "| `rows-model.onnx` | the model with its features: takes rows |\n"
    means = bundle.contract["output"]["description"]
    return _HEAD.format(
        name=bundle.problem.name,
        description=bundle.problem.description or means,
        bundle=bundle.id,
        files=f"The prediction is the {means}.",
        count=len(bundle.state.names),
        more=more,
        folded=_NOT_FOLDED.format(why=why[:1].upper() + why[1:]) if why else _FOLDED,
    )
