"""The simulator: the radio, the game played on it, and who acts by rule."""
