"""The prompt template of a run, written down once by its data phase and used ever after.

A chat template may contain the date, and the file of a tokenizer may change after training. Training, evaluation, chat and
export must all use the prompt that the model was trained with, so they read this file and never render the template again.
"""

from __future__ import annotations

from pathlib import Path

from lilift.data.texts.prompt_templates import Template
from lilift.recipe import storage
from lilift.recipe.errors import RunFolderError

TEMPLATE = "template.json"


def keep_template(template: Template, folder: Path) -> None:
    """Write the template into a run's data folder, with the digest of its content.

    Raises:
        StorageError: the file cannot be written.
    """
    storage.write_json(folder / TEMPLATE, storage.sealed_json(template.as_dict()))


def kept_template(folder: Path) -> Template | None:
    """The template in a run's data folder, or None if the run comes from a version of lilift that kept none.

    Raises:
        RunFolderError: the file has changed since it was written.
    """
    path = folder / TEMPLATE
    if not path.is_file():
        return None
    try:
        content = storage.read_json(path)
        storage.check_seal(content, path)
        return Template(**{name: value for name, value in content.items() if name != "seal"})
    except (RunFolderError, AttributeError, TypeError):
        raise RunFolderError(
            "the prompt template of this run has changed since its data phase wrote it",
            where=path,
            remedy="restore it from a copy, or delete data/done.json and run again with --resume; lilift writes it again",
        ) from None
