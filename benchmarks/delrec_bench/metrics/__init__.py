"""The metrics, one file each, found by folder: `metric_named` is how every other room comes by one."""

from delrec_bench.metrics.base import Metric, find_metrics, metric_named
