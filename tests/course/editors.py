"""A notebook as VS Code saves it: the same cells, other metadata, other order of keys, lists of lines."""

from __future__ import annotations

import json

from nbformat import NotebookNode


def saved_by_vscode(notebook: NotebookNode) -> str:
    """Return the file's text after VS Code's Jupyter extension opened the notebook and saved it."""
    cells = [_cell(cell) for cell in notebook.cells]
    language = {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3.11.7",
    }
    kernel = {"display_name": ".venv", "language": "python", "name": "python3"}
    kept = {
        key: value for key, value in notebook.metadata.items() if key not in ("kernelspec", "language_info")
    }
    metadata = kept | {
        "kernelspec": kernel,
        "language_info": language,
        "vscode": {"interpreter": {"hash": "0" * 64}},
    }
    book = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False)  # no newline at the end


def _cell(cell: NotebookNode) -> dict:
    code = cell.cell_type == "code"
    metadata = dict(sorted(cell.metadata.items(), reverse=True)) | (
        {"vscode": {"languageId": "python"}} if code else {}
    )
    return {
        "cell_type": cell.cell_type,
        **({"execution_count": None} if code else {}),
        "id": cell.id,
        "metadata": metadata,
        **({"outputs": []} if code else {}),
        "source": cell.source.splitlines(keepends=True),
    }
