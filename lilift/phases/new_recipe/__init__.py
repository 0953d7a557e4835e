"""A new recipe from a few answers: each answer is checked, and the recipe extends the nearest shipped one."""
