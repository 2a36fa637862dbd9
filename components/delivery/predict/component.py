from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._base import component

__all__ = ["predict"]


@component
def predict(
    *,
    bundle: Input[Model],
    data: str,
    predictions: Output[Dataset],
    summary: Output[Metrics],
    form: str = "parquet",
) -> None:
    """Predict for each row of a file, in memory that does not grow with it.

    Args:
        bundle: Folder of the bundle.
        data: File of rows to predict for, by its path: .csv, .csv.gz or .parquet.
        form: How predictions are written, csv or parquet.

    Returns:
        predictions: The columns of the rows as they are, followed by the model's outputs.
        summary: Number of rows, and the mean of each output.
    """
    from pathlib import Path

    from cd4ml.adapters.kubeflow.outputs import write_metrics
    from cd4ml.steps.predict import predict_file as step

    write_metrics(summary, step(Path(bundle.path), Path(data), Path(predictions.path), form=form))
