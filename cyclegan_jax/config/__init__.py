"""From flags and recipe cards to a Method and a Run of plain values."""
