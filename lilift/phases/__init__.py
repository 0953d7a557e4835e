"""The phases of a run and the run folder: lilift runs each phase once, in order, and skips those that are done."""
