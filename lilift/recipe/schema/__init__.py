"""What a recipe can say: one model per section of the YAML file.

A model refuses an unknown key, a wrong type and a contradiction with a `ValidationError` of pydantic. Editors show the
descriptions of the fields, and `recipes/recipe.schema.json` holds them. Each description therefore says what the setting does
to memory, speed or accuracy.

`lilift.recipe.names.local_paths` decides whether a text means a file or folder, or a name on the Hugging Face hub.
"""

from lilift.recipe.schema.base_settings import Dtype
from lilift.recipe.schema.data_settings import (
    CodeSwitchingSettings,
    ColumnSettings,
    DataSettings,
    InstructionSettings,
    MonolingualSettings,
    OverLength,
    ShareRange,
    TemplateName,
    TemplateSettings,
)
from lilift.recipe.schema.evaluation_settings import (
    MAY_HAVE_LABELS,
    WITH_LABELS,
    BenchmarkName,
    BenchmarkSettings,
    DuringSettings,
    EvaluateSettings,
    PivotSettings,
    QuestionColumnSettings,
    RespondIn,
)
from lilift.recipe.schema.export_settings import ExportFormat, ExportSettings, Quantisation
from lilift.recipe.schema.model_settings import (
    AdaptSettings,
    AlignmentKind,
    AlignmentSettings,
    EncoderLayers,
    EncoderSettings,
    Layout,
    LLMSettings,
)
from lilift.recipe.schema.recipe_settings import Card, Recipe
from lilift.recipe.schema.stage_settings import (
    WITHOUT_EFFECT_ON_RESULT,
    AlignSettings,
    LayerSwapSettings,
    LoraSettings,
    StageName,
    StageSettings,
    Target,
    TrainedPart,
    TransferSettings,
)

__all__ = [
    "MAY_HAVE_LABELS",
    "WITHOUT_EFFECT_ON_RESULT",
    "WITH_LABELS",
    "AdaptSettings",
    "AlignSettings",
    "AlignmentKind",
    "AlignmentSettings",
    "BenchmarkName",
    "BenchmarkSettings",
    "Card",
    "CodeSwitchingSettings",
    "ColumnSettings",
    "DataSettings",
    "Dtype",
    "DuringSettings",
    "EncoderLayers",
    "EncoderSettings",
    "EvaluateSettings",
    "ExportFormat",
    "ExportSettings",
    "InstructionSettings",
    "LLMSettings",
    "LayerSwapSettings",
    "Layout",
    "LoraSettings",
    "MonolingualSettings",
    "OverLength",
    "PivotSettings",
    "Quantisation",
    "QuestionColumnSettings",
    "Recipe",
    "RespondIn",
    "ShareRange",
    "StageName",
    "StageSettings",
    "Target",
    "TemplateName",
    "TemplateSettings",
    "TrainedPart",
    "TransferSettings",
]
