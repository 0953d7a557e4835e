"""The frozen multilingual encoder: its tokens, its states, and where lilift keeps states."""
