"""How a mask is judged: Dice, HD95, NSD and volume of a case, and statistics over cases."""
