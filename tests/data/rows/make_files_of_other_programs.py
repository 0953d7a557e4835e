"""Write `files_of_other_programs` again: hard texts, as Polars and DuckDB write them.

python -m venv v && v/bin/pip install polars==2.1.0 duckdb==2.0.1
PYTHONPATH=. v/bin/python tests/data/rows/make_files_of_other_programs.py
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars

from tests.data.rows.hard_texts import COLUMNS, HARD

FOLDER = Path(__file__).parent / "files_of_other_programs"


def main() -> None:
    frame = polars.DataFrame({name: [pair[index] for pair in HARD] for index, name in enumerate(COLUMNS)})
    frame.write_csv(FOLDER / "polars.csv")
    frame.write_csv(FOLDER / "polars.tsv", separator="\t")
    frame.write_csv(FOLDER / "polars_semicolon.csv", separator=";", include_bom=True)
    frame.write_json(FOLDER / "polars.json")
    frame.write_ndjson(FOLDER / "polars.jsonl")
    frame.write_parquet(FOLDER / "polars.parquet")
    database = duckdb.connect()
    database.execute("create table texts (question varchar, response varchar)")
    database.executemany("insert into texts values (?, ?)", HARD)
    for name, options in {
        "duckdb.csv": "format csv, header",
        "duckdb.tsv": "format csv, header, delimiter '\t'",
        "duckdb.json": "format json, array true",
        "duckdb.jsonl": "format json",
        "duckdb.parquet": "format parquet",
    }.items():
        database.execute(f"copy texts to '{FOLDER / name}' ({options})")


if __name__ == "__main__":
    main()
