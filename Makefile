# Two commands: `make lab` opens the course, `make test` runs all checks but those in a browser. Each sets up .venv itself.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
LOCK    = .ci/requirements.lock

# Options for JupyterLab, such as JUPYTERLAB=--no-browser. In a container one is often root, which it refuses unasked.
JUPYTERLAB ?=
ROOT_TOO    = $(if $(filter 0,$(shell id -u)),--allow-root)
COURSE     ?= my-course

.PHONY: lab classroom test test-browser build bench lock clean
# Who learns alone is shown no menus for grading, by a setting of this run: nothing on the machine changes.
lab: $(STAMP)
	JUPYTER_CONFIG_PATH="$(CURDIR)/.ci/self-paced:$$JUPYTER_CONFIG_PATH" \
	  $(BIN)/jupyter lab $(ROOT_TOO) --ServerApp.root_dir=notebooks \
	  --LabApp.default_url=/lab/tree/00_start_here.ipynb $(JUPYTERLAB)

# An nbgrader course in COURSE, made if it is not there, and JupyterLab inside it with nbgrader's menus.
classroom: $(STAMP)
	test -e "$(COURSE)/nbgrader_config.py" || $(BIN)/labkit build --classroom "$(COURSE)"
	cd "$(COURSE)" && $(abspath $(BIN))/jupyter lab $(ROOT_TOO) $(JUPYTERLAB)

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Two processes with two threads each fight over two cores: one thread each is five times as fast on lab 09.
	OMP_NUM_THREADS=1 LABKIT_PROFILE=smoke $(BIN)/pytest -n 2 --dist loadscope --ignore=tests/browser

# What a learner sees, in JupyterLab and a headless Chromium (`apt-get install chromium`, or LABKIT_CHROMIUM=/path/to/one);
# pictures of it stay in tests/browser/screenshots. It fails where there is no Chromium: nothing would have been looked at.
test-browser: $(STAMP)
	LABKIT_BROWSER=required $(BIN)/pytest tests/browser

build: $(STAMP)
	$(BIN)/labkit build

bench: $(STAMP)
	$(BIN)/labkit bench dp

# The stamp is newer than the lock and the project file exactly when the environment matches them. The lock holds the
# package's own needs and every extra: course, classroom, federated, simulation, bridges, site, cluster and test.
$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"labkit needs Python 3.11 or newer, found {sys.version.split()[0]}: run make PYTHON=/path/to/python3.11")'
	@echo 'Setting up $(VENV), once: some minutes, and 3 GB of disk (more on Linux, where torch brings its GPU part).'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# One universal lock; versions that still fit stay where they are (`make lock UPGRADE=--upgrade` moves all). The CUDA
# packages are left to torch's own exact pins, so a CPU build of torch does not pull them in.
lock: $(STAMP)
	cp $(LOCK) $(LOCK).new
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  --constraint .ci/constraints.txt --quiet --output-file $(LOCK).new $(UPGRADE)
	grep -vE '^(nvidia-|cuda-|triton)' $(LOCK).new > $(LOCK)
	rm $(LOCK).new

clean:
	rm -rf $(VENV) build dist *.egg-info
