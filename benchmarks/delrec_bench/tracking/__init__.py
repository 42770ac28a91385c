"""Records <-> MLflow. Only this room speaks to MLflow, from one process: that of the command.

The records are the truth and MLflow is a view of them: it may be deleted at any time and synced again. A run is found
by its record's key, so that syncing twice changes nothing. A study is a run, and its runs stand below it.
"""

from delrec_bench.tracking.live import Follower, follow
from delrec_bench.tracking.mlflow_store import log_page, opened, runs_from_mlflow, sync
