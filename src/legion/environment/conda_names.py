"""conda packages that the Python index has, and what it calls them.

Only packages whose distribution there holds all that the conda package holds: one that brings a program, a
driver or another library that is not Python is not in this table, and so is refused.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_SAME_NAME = """
    absl-py accelerate aiohttp alembic arviz attrs beautifulsoup4 bokeh boto3 botocore bottleneck
    catboost category-encoders cffi charset-normalizer click cloudpickle colorama cryptography
    cython dask datasets dill diskcache distributed et-xmlfile evaluate fastapi fasteners filelock
    flask fsspec gensim gitpython google-cloud-storage greenlet gunicorn h5py holidays httpx
    huggingface-hub hyperopt idna imageio imbalanced-learn importlib-metadata importlib-resources
    interpret ipython jax jinja2 joblib jsonschema keras langchain lightgbm lightning llvmlite
    loguru lxml lz4 markupsafe matplotlib mlflow mlflow-skinny mlxtend msgspec networkx nltk numba
    numexpr numpy onnx onnxruntime opencv-python openpyxl optuna orjson packaging pandas patsy
    pillow pip plotly pmdarima polars prometheus-client prophet protobuf psutil psycopg2-binary
    pyarrow pycaret pydantic pydantic-core pymysql pyod pyparsing pyspark python-dateutil
    python-dotenv pytorch-lightning pytz pyyaml regex requests rich s3fs safetensors scikit-image
    scikit-learn scikit-optimize scipy seaborn sentence-transformers sentencepiece setuptools shap
    simplejson six skops skorch sktime snowflake-connector-python spacy sqlalchemy sqlparse
    starlette statsmodels sympy tabulate tensorboard tensorflow tensorflow-cpu tensorflow-hub
    threadpoolctl timm tokenizers toolz torchaudio torchmetrics torchvision tornado tqdm
    transformers tsfresh typing-extensions tzdata ujson urllib3 uvicorn werkzeug wheel xarray
    xgboost xlrd xlsxwriter zstandard
"""

_OTHER_NAME = {
    "cpuonly": "",
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "numpy-base": "numpy",
    "opencv": "opencv-python",
    "pandas-base": "pandas",
    "psycopg2": "psycopg2-binary",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "ruamel-yaml": "ruamel-yaml",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
}

# conda name (normalised as PEP 503 does) → name in the Python index.
INDEX_NAMES: Final = MappingProxyType({name: name for name in _SAME_NAME.split()} | _OTHER_NAME)
