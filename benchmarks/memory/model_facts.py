"""What the pages of the shipped recipes' models say on the hub: licences, and the languages of encoders.

Licences are those of the models' pages when a recipe was added; read the page before you publish a model.
"""

from __future__ import annotations

LICENCES = {
    "DKYoon/mt5-xl-lm-adapt": "Apache 2.0",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "Apache 2.0",
    "HuggingFaceTB/SmolLM3-3B": "Apache 2.0",
    "Qwen/Qwen2.5-1.5B": "Apache 2.0",
    "Qwen/Qwen2.5-7B": "Apache 2.0",
    "Qwen/Qwen3-1.7B": "Apache 2.0",
    "Qwen/Qwen3-4B": "Apache 2.0",
    "Qwen/Qwen3-8B": "Apache 2.0",
    "facebook/nllb-200-1.3B": "CC BY-NC 4.0",
    "google/gemma-3-12b-it": "Gemma terms",
    "google/gemma-3-4b-it": "Gemma terms",
    "intfloat/multilingual-e5-small": "MIT",
    "meta-llama/Llama-2-13b-hf": "Llama 2 Community",
    "meta-llama/Llama-2-7b-hf": "Llama 2 Community",
    "meta-llama/Llama-3.1-8B": "Llama 3.1 Community",
    "meta-llama/Llama-3.2-3B": "Llama 3.2 Community",
    "mistralai/Ministral-3-8B-Base-2512": "Apache 2.0",
    "mistralai/Mistral-7B-v0.1": "Apache 2.0",
    "utter-project/EuroLLM-9B-Instruct": "Apache 2.0",
    "stand-in:encoder": "comes with lilift",
    "stand-in:llm": "comes with lilift",
}
ENCODER_NAMES = {
    "DKYoon/mt5-xl-lm-adapt": "mT5-xl",
    "facebook/nllb-200-1.3B": "NLLB-1.3B",
    "intfloat/multilingual-e5-small": "multilingual-e5-small",
    "none": "–",
}
LANGUAGES = {
    "mT5-xl": "101, by mT5's authors: Afrikaans, Albanian, Amharic, Arabic, Armenian, Azerbaijani, Basque, Belarusian, "
    "Bengali, "
    "Bulgarian, Burmese, Catalan, Cebuano, Chichewa, Chinese, Corsican, Czech, Danish, Dutch, English, Esperanto, "
    "Estonian, Filipino, Finnish, French, Galician, Georgian, German, Greek, Gujarati, Haitian Creole, Hausa, "
    "Hawaiian, Hebrew, Hindi, Hmong, Hungarian, Icelandic, Igbo, Indonesian, Irish, Italian, Japanese, Javanese, "
    "Kannada, Kazakh, Khmer, Korean, Kurdish, Kyrgyz, Lao, Latin, Latvian, Lithuanian, Luxembourgish, Macedonian, "
    "Malagasy, Malay, Malayalam, Maltese, Maori, Marathi, Mongolian, Nepali, Norwegian, Pashto, Persian, Polish, "
    "Portuguese, Punjabi, Romanian, Russian, Samoan, Scottish Gaelic, Serbian, Shona, Sindhi, Sinhala, Slovak, "
    "Slovenian, Somali, Sotho, Spanish, Sundanese, Swahili, Swedish, Tajik, Tamil, Telugu, Thai, Turkish, Ukrainian, "
    "Urdu, Uzbek, Vietnamese, Welsh, West Frisian, Xhosa, Yiddish, Yoruba, Zulu",
    "NLLB-1.3B": "about 200, those of FLORES-200; the page of `facebook/nllb-200-1.3B` lists their codes. lilift says which "
    "languages of a recipe its tokenizer does not know",
    "multilingual-e5-small": "about 100, those of XLM-R; the page of `intfloat/multilingual-e5-small` lists them",
}
