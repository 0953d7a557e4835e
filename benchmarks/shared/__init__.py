"""What every benchmark uses: timing, result files and charts."""
