"""The words that all of lilift speaks: settings as data models, loading, overrides, errors."""
