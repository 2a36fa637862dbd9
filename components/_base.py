"""The one image and the one decorator of all components."""

import functools
import os
from importlib.metadata import version

from kfp import dsl

__all__ = ["IMAGE", "IMAGE_VARIABLE", "TARGET_IMAGE_VARIABLE", "component"]

IMAGE_VARIABLE = "CD4ML_IMAGE"
"""Environment variable that names another image when components are compiled; pin a version or a digest."""

TARGET_IMAGE_VARIABLE = "CD4ML_TARGET_IMAGE"
"""Environment variable for `kfp component build`: the image to build. Such components do not run locally."""

# kfp warns about an image without "python" in its name. The tag is part of the cluster's cache key, so it
# is the version, never "latest".
IMAGE = os.environ.get(IMAGE_VARIABLE) or f"ghcr.io/cd4ml/cd4ml-python:{version('cd4ml')}"

_target = os.environ.get(TARGET_IMAGE_VARIABLE)
_build = {"target_image": _target} if _target else {}

component = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False, **_build)
