"""What the names in a recipe or command stand for: languages in every usual spelling, and files as opposed to names on the hub."""
