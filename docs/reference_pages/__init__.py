"""Writes the reference pages of the documentation from the code that they describe.

python -m docs.reference_pages          # writes docs/reference/recipe.md, commands.md and exit_codes.md

The pages are committed, so that they can be read where no site is built. A test compares them with the code.
"""
