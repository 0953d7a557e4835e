"""The documentation: pages, and `python -m docs.reference_pages`, which writes those that follow from the code."""
