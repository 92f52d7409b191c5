# One word each: demo, java, test, simulate, check, bench, reliability, lock, clean. `make demo` needs Python 3.11+ and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo java test simulate check bench reliability lock clean help

help:
	@echo "make demo    train, pack, register and serve the example, call it, and end"
	@echo "make java    build the example model in Java, where a JDK is present"
	@echo "make test    the whole test suite, the quick tests first"
	@echo "make simulate  the gateway's dispatch on a virtual clock, SEEDS=10000 seeds from FROM=0 on"
	@echo "make check   lint, types and import contracts"
	@echo "make bench   speed beside the real mlflow models serve; writes docs/benchmarks.md"
	@echo "make bench AGAINST=REV  speed of this tree beside another revision; FLOOR=0.98 is the smallest ratio accepted"
	@echo "make reliability  swaps, faults, overload and hostile clients under load; writes docs/reliability.md"
	@echo "make lock    renew requirements.lock"
	@echo "make clean   remove the virtual environment and what the demo made"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; name one with make PYTHON=python3.12 demo"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

demo: $(READY)
	@$(BIN)/python examples/demo.py

# By the release that Legion asks for at least, whichever JDK builds it.
JAVA_WINE := build/java-wine
java:
	@command -v javac >/dev/null && command -v jar >/dev/null \
		|| { echo "A JDK is missing; on Debian: apt install default-jdk-headless"; exit 1; }
	@rm -rf $(JAVA_WINE) && mkdir -p $(JAVA_WINE)/classes/example
	@javac --release 11 -d $(JAVA_WINE)/classes src/legion/interface/java/LegionModel.java examples/java-wine/WineModel.java
	@cp examples/java-wine/weights.csv $(JAVA_WINE)/classes/example/
	@cp -R examples/java-wine/META-INF $(JAVA_WINE)/classes/
	@jar --create --file $(JAVA_WINE)/wine.jar -C $(JAVA_WINE)/classes .
	@echo "$(JAVA_WINE)/wine.jar"

test: $(READY)
	@$(BIN)/python -m pytest -q -m "not slow"
	@$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile

SEEDS ?= 10000
FROM ?= 0
simulate: $(READY)
	@$(BIN)/python tests/simulation/run.py $(SEEDS) $(FROM)

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

FLOOR ?= 0.98
bench: $(READY)
ifdef AGAINST
	@$(BIN)/python bench/against.py "$(AGAINST)" --floor "$(FLOOR)"
else
	@$(BIN)/python bench/run.py
endif

reliability: $(READY)
	@$(BIN)/python bench/reliability/run.py

# The lock names no index, so that it serves with whichever the user has set.
lock:
	@uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --quiet --extra mlflow --extra arrow --extra conda --extra grpc --extra java --extra team --group dev --group bench -o requirements.lock

clean:
	@rm -rf $(VENV) build
