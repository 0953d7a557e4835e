"""`python -m lilift.recipe.publish_schema`: write the JSON schema that editors use to check recipes, beside the recipes."""

from lilift.recipe.load import json_schema, recipes_folder

if __name__ == "__main__":
    (recipes_folder() / "recipe.schema.json").write_text(json_schema(), encoding="utf-8")
