"""What a type checker sees of labkit in somebody else's project: every public name, with its type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs/typed.py"
WRONG = {  # a wrong use, and what a checker must say of it
    'Signer.new("owner")': "Too many arguments",
    "training.Recipe(epoch=1)": 'Unexpected keyword argument "epoch"',
    "dp.train_private(nn.Identity(), 2)": 'has incompatible type "int"; expected "Dataset"',
    "watermark.Key.new().nothing": '"Key" has no attribute "nothing"',
}
IMPORTS = (
    "from torch import nn",
    "from labkit import dp, training, watermark",
    "from labkit.evidence import Signer",
)


def test_a_program_that_uses_each_package_passes_mypy_and_a_wrong_one_does_not(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("mypy")
    kept = request.config.cache.mkdir("mypy")  # what torch says about itself takes 20 seconds to read
    wrong = tmp_path / "wrong.py"
    wrong.write_text("\n".join((*IMPORTS, *WRONG)), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--no-error-summary",
        "--config-file=",
    ]
    command += [f"--cache-dir={kept}", str(PROGRAM), str(wrong)]
    # An editable install is found by a hook, which a checker does not run.
    here = os.environ | {"MYPYPATH": str(PROGRAM.parents[2])}
    printed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=here).stdout
    said = [line for line in printed.splitlines() if "error: " in line]
    for line, (use, message) in enumerate(WRONG.items(), start=len(IMPORTS) + 1):
        assert any(f"wrong.py:{line}: " in text and message in text for text in said), f"{use}: {printed}"
    assert not [text for text in said if "wrong.py" not in text]
