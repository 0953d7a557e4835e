"""The built documentation: complete, with no broken link, loading nothing from elsewhere, and readable on a phone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from tests.docs.conftest import PATIENCE, ROOT, Build

PHONE = {"width": 390, "height": 800}
# Wide tables, long lines of commands, long dotted names.
WIDE_PAGES = ("lexicon_coverage.html", "recipes.html", "reference/recipe.html", "reference/commands.html", "export.html")


def test_every_page_is_built_and_found_by_search(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert pages == {Path(entry["location"].split("#")[0]) for entry in index["docs"]}


def test_a_broken_link_a_missing_heading_and_a_page_without_a_place_end_the_build(build: Build, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs" / "orphan.md").write_text("# Nobody links here\n", encoding="utf-8")
    with (tmp_path / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write("[no page](nowhere.md), [no heading](memory.md#nowhere), [not in the site](../README.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for complaint in ("orphan.md", "'nowhere.md'", "'#nowhere'", "'../README.md'"):
        assert complaint in done.stderr, done.stderr
    assert done.stderr.count("WARNING -") == 4, "each of them ends the build by itself"


def test_links_from_the_readme_and_others_lead_to_files() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert "://" in target or (ROOT / target).exists(), f"{name}: {target}"


def test_built_pages_name_no_script_style_or_image_of_another_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*>", text)
        assert tags
        assert not [tag for tag in tags if re.search(r"=[\"']?(https?:)?//", tag)], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)[\s\"']*(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_nothing_sticks_out_sideways_on_a_phone(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True)
    for name in WIDE_PAGES:
        page.goto((site / name).as_uri())
        assert page.locator("article h1").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    page.close()


def test_search_works_on_pages_that_are_opened_as_files(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "guide" / "demo.html").as_uri())
    page.click("input.md-search__input")
    page.get_by_text("Type to start searching").wait_for(state="attached")  # the index is read
    page.keyboard.type("tokens_per_micro_batch")
    found = page.locator(".md-search-result__link[href*='reference/recipe.html']").first
    found.wait_for(state="attached")
    found.click()
    page.wait_for_url("**/reference/recipe.html*")
    assert asked
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    page.close()


def parts(html: str) -> dict[str, int]:
    """How many list entries, lists, blocks of code, tables, rows and headings a page has."""
    return {tag: len(re.findall(rf"<{tag}[ >]", html)) for tag in ("li", "ol", "ul", "pre", "table", "tr", "h2", "h3")}


def test_pages_have_the_same_parts_on_the_site_as_on_github(site: Path) -> None:
    """CommonMark sees a list right below a paragraph, and parts indented by two spaces; the site's Markdown does not."""
    reader = MarkdownIt("commonmark").enable("table")
    for path in (ROOT / "docs").rglob("*.md"):
        built = (site / path.relative_to(ROOT / "docs").with_suffix(".html")).read_text(encoding="utf-8")
        article = built.split("<article")[1].split("</article>")[0]
        assert parts(article) == parts(reader.render(path.read_text(encoding="utf-8"))), path
