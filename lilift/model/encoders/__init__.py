"""The frozen multilingual encoder: its tokens, its states, and states that are kept."""
