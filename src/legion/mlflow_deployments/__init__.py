"""The plugin `legion` of `mlflow deployments`: what its target is, and the three names MLflow looks for.

https://mlflow.org/docs/latest/ml/plugins/#deployment-plugins
"""

from legion.mlflow_deployments.local import run_local
from legion.mlflow_deployments.plugin import LegionDeploymentClient
from legion.mlflow_deployments.target import target_help

__all__ = ["LegionDeploymentClient", "run_local", "target_help"]
