"""The main job from end to end, by the commands a user would type. It ends by itself and leaves nothing running.

It works in build/demo: there MLflow makes its local registry (SQLite and files), as it does in any folder.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "build" / "demo"
LEGION = Path(sys.executable).parent / "legion"
PORT = 1234
COLUMNS = [
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
]
ROW = [6.2, 0.66, 0.48, 1.2, 0.029, 29, 75, 0.98, 3.33, 0.39, 12.8]
BODY = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}})
TRAIN = ["train", "../../examples/wine", "-P", "alpha=0.1", "-o", "wine.zip"]
REGISTER = ["register", "wine.zip", "--name", "wine", "--alias", "champion"]
SERVE = ["serve", "models:/wine@champion", "--port", str(PORT)]


def show(args: list[str]) -> None:
    """Print a command as one would type it."""
    print(f"\n$ legion {shlex.join(args)}", flush=True)


def step(args: list[str], environment: dict[str, str]) -> float:
    """Run a command to its end; the seconds it took. Ends the demo if it fails."""
    show(args)
    began = time.monotonic()
    done = subprocess.run([str(LEGION), *args], cwd=HERE, env=environment, check=False)
    if done.returncode:
        sys.exit(f"the demo stops: legion {args[0]} ended with {done.returncode}")
    return time.monotonic() - began


def call(connection: http.client.HTTPConnection) -> tuple[int, str]:
    """Send the wine request once."""
    connection.request("POST", "/invocations", BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait(server: subprocess.Popen[bytes]) -> None:
    """Until the server answers /ping with 200."""
    for _ in range(1200):
        if server.poll() is not None:
            sys.exit(f"the demo stops: legion serve ended with {server.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    sys.exit("the demo stops: the server was not ready within a minute")


def measure() -> tuple[str, list[float]]:
    """The answer, and the seconds of 2,000 calls on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    status, answer = call(connection)
    if status != 200:
        sys.exit(f"the demo stops: the answer was {status} {answer}")
    times = []
    for _ in range(2000):
        began = time.perf_counter()
        call(connection)
        times.append(time.perf_counter() - began)
    connection.close()
    return answer, times


def main() -> None:
    """Train, register, serve, call, tell."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment["LEGION_CACHE"] = str(HERE / "cache")
    trained = step(TRAIN, environment)
    registered = step(REGISTER, environment)
    show(SERVE)
    began = time.monotonic()
    server = subprocess.Popen([str(LEGION), *SERVE], cwd=HERE, env=environment)
    try:
        wait(server)
        ready = time.monotonic() - began
        curl = f"curl -X POST -H 'Content-Type: application/json' --data '{BODY}' http://127.0.0.1:{PORT}/invocations"
        print(f"\n$ {curl}")
        answer, times = measure()
        print(answer)
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(40)
    rate = len(times) / sum(times)
    print(
        f"\nThe server has ended with {ended}. While it ran, its Swagger page was at http://127.0.0.1:{PORT}/docs.\n"
        f"trained and packed in {trained:.1f} s, registered in {registered:.1f} s, ready after {ready:.1f} s\n"
        f"one call: median {statistics.median(times) * 1000:.2f} ms, {rate:,.0f} a second on one connection\n"
        "\nThe same by hand:\n"
        "  . .venv/bin/activate && cd build/demo\n"
        f"  legion {shlex.join(TRAIN)}\n"
        f"  legion {shlex.join(REGISTER)}\n"
        f"  legion {shlex.join(SERVE)}\n"
        f"  {curl}"
    )


if __name__ == "__main__":
    main()
