"""What every part of lilift uses: the settings of a recipe, errors, and files that are either whole or absent."""
