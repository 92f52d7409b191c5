"""MLflow's deployment client for a Legion gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

from legion.errors import GatewayRefused, RefusedError, UsageError
from legion.mlflow_deployments import changes
from legion.mlflow_deployments.changes import Wish
from legion.mlflow_deployments.target import as_mlflow, connected

_FLAVOR = "python_function"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")

Described = dict[str, Any]


class LegionDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]
    """`mlflow.deployments.get_deploy_client("legion")`, or `"legion:http://HOST:PORT"`.

    A deployment is returned as the gateway's admin API describes it (`name`, `state`, `paths`, `variants` …), with
    its `flavor`, which is always python_function. All calls raise MlflowException.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        with as_mlflow():
            self._client = connected(target_uri)

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> Described:
        """Deploy a model and wait until it serves. `mlflow deployments help -t legion` lists the fields of `config`.

        Raises MlflowException where a deployment of that name exists, and where the model is refused: nothing is
        deployed then.
        """
        with as_mlflow():
            _check(flavor, endpoint)
            wished = changes.wish(config)
            if self._find(name) is not None:
                message = f"the deployment {name} exists already; update it, or delete it first"
                raise MlflowException(message, error_code=RESOURCE_ALREADY_EXISTS)
            try:
                return self._deploy(changes.created(name, model_uri, wished), wished)
            except RefusedError:
                if self._find(name) is not None:
                    self._client.delete(name)
                raise

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> Described:
        """Change a deployment's model, variants, weights or settings, and wait until it serves.

        The previous version serves until then, and keeps serving where the model is refused.
        """
        with as_mlflow():
            _check(flavor, endpoint)
            wished = changes.wish(config)
            declaration = self._client.deployment(name)["declaration"]
            return self._deploy(changes.updated(declaration, model_uri, wished), wished)

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """End a deployment once it has answered the requests it has accepted. A missing one is not an error."""
        with as_mlflow():
            _check(None, endpoint)
            try:
                self._client.delete(name)
            except GatewayRefused as error:
                if error.status != 404:
                    raise

    def list_deployments(self, endpoint: str | None = None) -> list[Described]:
        """All deployments of the gateway."""
        with as_mlflow():
            _check(None, endpoint)
            return [_described(view) for view in self._client.deployments()]

    def get_deployment(self, name: str, endpoint: str | None = None) -> Described:
        """One deployment."""
        with as_mlflow():
            _check(None, endpoint)
            return _described(self._client.deployment(name))

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """Predict n rows: a DataFrame, a list of n dicts, an array, named arrays, or a body of MLflow's protocol.

        `endpoint` is another name for `deployment_name`. The `predictions` of the response are those that the
        model's own MLflow server would give.
        """
        with as_mlflow():
            if isinstance(inputs, Mapping) and not any(form in inputs for form in _FORMS):
                inputs = {"inputs": dict(inputs)}
            name = deployment_name if deployment_name is not None else endpoint
            return PredictionsResponse(predictions=self._client.predict(inputs, name))

    def _find(self, name: str) -> dict[str, Any] | None:
        try:
            return self._client.deployment(name)
        except GatewayRefused as error:
            if error.status == 404:
                return None
            raise

    def _deploy(self, declaration: Mapping[str, Any], wished: Wish) -> Described:
        view = self._client.deploy(declaration)
        if wished.wait:
            view = self._client.wait(view["name"], wished.wait_timeout)
        return _described(view)


def _check(flavor: str | None, endpoint: str | None) -> None:
    if flavor not in (None, _FLAVOR):
        raise UsageError(f"the flavor {flavor!r} cannot be chosen; leave it out, the model's own is used")
    if endpoint is not None:
        raise UsageError("a gateway has no endpoints; leave out --endpoint and name the gateway in the target")


def _described(view: dict[str, Any]) -> Described:
    return {**view, "flavor": _FLAVOR}
