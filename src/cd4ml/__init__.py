"""Continuous delivery of machine learning on Kubeflow Pipelines and KServe."""
