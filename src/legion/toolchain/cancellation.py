"""A run that is interrupted at any moment is ended and marked as failed in the tracking server.

MLflow does so only while it waits for the project to end. An interrupt in any other moment would leave the run
as running for ever, or a transaction open; so here interrupts are held back until MLflow waits.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def interrupted_only_while_waiting(way: type[Any] | None = None) -> Iterator[None]:
    """Around `mlflow.projects.run`: a SIGINT is raised where MLflow waits for the project, or at the end.

    `way` is the backend that runs the project, else MLflow's own local one. Only for the main thread of a process
    that runs one project.
    """
    from mlflow.projects.backend import loader  # noqa: PLC0415
    from mlflow.projects.backend.local import LocalBackend  # noqa: PLC0415
    from mlflow.projects.submitted_run import LocalSubmittedRun  # noqa: PLC0415

    pending: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pending.append(number)

    class Handle(LocalSubmittedRun):  # type: ignore[misc]
        """MLflow's handle of the project's process, which may be interrupted in `wait`."""

        def wait(self) -> bool:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                if pending:
                    raise KeyboardInterrupt
                return bool(super().wait())
            finally:
                signal.signal(signal.SIGINT, remember)

    class Backend(way or LocalBackend):  # type: ignore[misc]
        """That way to run a project, with that handle."""

        def run(self, *arguments: Any, **options: Any) -> Any:
            submitted = super().run(*arguments, **options)
            return Handle(submitted.run_id, submitted.command_proc)

    backend = loader.MLFLOW_BACKENDS["local"]
    handler = signal.signal(signal.SIGINT, remember)
    loader.MLFLOW_BACKENDS["local"] = Backend
    try:
        yield
        if pending:
            raise KeyboardInterrupt
    finally:
        loader.MLFLOW_BACKENDS["local"] = backend
        signal.signal(signal.SIGINT, handler)
