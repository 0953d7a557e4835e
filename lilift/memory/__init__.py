"""What fits on a card: the card, the plan, and what was measured."""
