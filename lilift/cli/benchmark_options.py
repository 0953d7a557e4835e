"""What `--benchmark` and `--columns` mean: the name of a benchmark, or your own file with the names of its columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lilift.recipe.schema import BenchmarkName, QuestionColumnSettings


def name_and_path(benchmark: str, path: Path | None) -> tuple[BenchmarkName, Path | None]:
    """The name of the benchmark, and the folder or file of its questions.

    Args:
        benchmark: `--benchmark`: a name, or a path to questions of one's own.
        path: `--path`.

    Raises:
        RecipeError: it is neither a name nor a path, or `--path` is missing or one path too many.
    """
    from typing import get_args

    from lilift.data.rows.row_files import kind_of_file
    from lilift.recipe.errors import RecipeError
    from lilift.recipe.names.local_paths import local_path
    from lilift.recipe.schema import BenchmarkName

    names: tuple[BenchmarkName, ...] = get_args(BenchmarkName)
    if benchmark in names:
        if benchmark == "custom" and path is None:
            raise RecipeError(
                "--benchmark custom needs the path of your questions", remedy="give it as --benchmark ./problems.csv"
            )
        return names[names.index(benchmark)], path
    own = local_path(benchmark)
    if own is None and ("/" in benchmark or "\\" in benchmark or kind_of_file(Path(benchmark))):
        own = Path(benchmark)
    if own is None:
        known = ", ".join(name for name in names if name != "custom")
        raise RecipeError(
            f"there is no benchmark, file or folder {benchmark!r}",
            where="--benchmark",
            remedy=f"choose from {known}, or give the path of your own questions",
        )
    if path is not None:
        raise RecipeError(f"--benchmark {benchmark} and --path {path} name two paths", remedy="leave --path out")
    return "custom", own


def question_columns(text: str) -> QuestionColumnSettings:
    """The columns behind ``question=swali,answer=jibu,choices=a+b+c``.

    Raises:
        RecipeError: a part is not ``role=name``, or there is no such role.
    """
    from lilift.recipe.names.column_names import named_columns
    from lilift.recipe.schema import QuestionColumnSettings

    return named_columns(text, QuestionColumnSettings, "--columns")
