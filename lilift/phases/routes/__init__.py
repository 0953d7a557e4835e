"""Which routes to a model are open to a language, and which of them to try first."""
