"""The parts that the other tests stand on: fresh, reachable, gone when they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from real_parts import MlflowServer, ObjectStore, PostgresServer

pytestmark = pytest.mark.slow


def test_each_database_is_empty_and_wants_its_password(postgres: Callable[[], str]) -> None:
    import psycopg2

    first, second = postgres(), postgres()
    assert first != second
    with psycopg2.connect(first) as connection, connection.cursor() as cursor:
        cursor.execute("create table kept (a int)")
    with psycopg2.connect(second) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_tables where tablename = 'kept'")
        assert cursor.fetchone() == (0,)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(first.replace("%2F", "x"))


def test_a_database_survives_its_server() -> None:
    import psycopg2

    with PostgresServer() as server:
        address = server.database()
        with psycopg2.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute("create table kept as select 42 as a")
        server.stop(signal.SIGQUIT)
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(address)
        server.start()
        with psycopg2.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute("select a from kept")
            assert cursor.fetchone() == (42,)


def test_the_store_keeps_objects_and_wants_its_secret(s3: ObjectStore) -> None:
    from botocore.exceptions import ClientError

    bucket = s3.new_bucket()
    s3.client().put_object(Bucket=bucket, Key="a/b.txt", Body=b"forty-two")
    assert s3.client().get_object(Bucket=bucket, Key="a/b.txt")["Body"].read() == b"forty-two"
    assert (s3.path(bucket) / "a" / "b.txt").read_bytes() == b"forty-two"
    with pytest.raises(ClientError):
        s3.client("wrong").put_object(Bucket=bucket, Key="a/c.txt", Body=b"no")


def test_the_store_takes_many_writers(s3: ObjectStore) -> None:
    bucket = s3.new_bucket()

    def write(number: int) -> None:
        client = s3.client()
        for step in range(10):
            client.put_object(Bucket=bucket, Key=f"{number}/{step}/artifacts/MLmodel", Body=b"x")
            client.list_objects_v2(Bucket=bucket, Prefix=f"{number}/{step}/", Delimiter="/")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert sum(path.name == "MLmodel" for path in s3.path(bucket).rglob("*")) == 80


def test_mlflow_on_both(
    postgres: Callable[[], str], s3: ObjectStore, mlflow_server: Callable[..., MlflowServer]
) -> None:
    server = mlflow_server(backend=postgres(), artifacts=f"s3://{s3.new_bucket()}", variables=s3.variables)
    answer = requests.get(server.url + "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default", timeout=20)
    assert answer.json()["experiment"]["artifact_location"].startswith("mlflow-artifacts:")
    server.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url + "/health", timeout=5)
