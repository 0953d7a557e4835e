"""What the names in a recipe or command stand for: languages in every usual spelling, and files or names on the hub."""
