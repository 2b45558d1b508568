"""How far an estimate is from the truth: one metric, one file, found by its name."""

from photopeak.metrics.compare import least_squares_factor
from photopeak.metrics.metric import Metric, metric
from photopeak.metrics.scoring import all_metrics, score

__all__ = ["Metric", "all_metrics", "least_squares_factor", "metric", "score"]
