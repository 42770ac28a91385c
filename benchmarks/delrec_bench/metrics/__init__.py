"""The metrics, one file each, found by folder: `metric_named` is how every other room comes by one."""

from delrec_bench.metrics.metric import Metric, find_metrics, metric_named
