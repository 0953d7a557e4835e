"""Machine translation with CTranslate2: a translator, its languages, a guard for numbers, and a cache of translations."""
