"""See what hyperparameters do: batch-size profiles, curves, and what was set beside what was learned."""

import importlib

_HOME_OF_NAME = {
    "BatchSizeProfile": "batch_size_result",
    "BatchSizeProfileDisplay": "batch_size_display",
    "EstimatorDescription": "description",
    "LossCurveDisplay": "loss_curve",
    "ValidationSurfaceDisplay": "validation_surface",
    "batch_size_profile": "batch_size",
    "describe": "description",
    "gradient_noise_scale": "noise_scale",
}

__all__ = [
    "BatchSizeProfile",
    "BatchSizeProfileDisplay",
    "EstimatorDescription",
    "LossCurveDisplay",
    "ValidationSurfaceDisplay",
    "batch_size_profile",
    "describe",
    "gradient_noise_scale",
]


def __getattr__(name):
    if name not in _HOME_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
