"""What answers come to: accuracy by language, comparisons of systems, what responses are like."""
