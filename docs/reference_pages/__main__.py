"""`python -m docs.reference_pages`: write every generated page that is not up to date."""

from docs.reference_pages.pages import GENERATED, generated_pages

for name, text in generated_pages().items():
    path = GENERATED / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
