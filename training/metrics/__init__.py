"""How good a mask is: Dice, HD95, NSD and volume error of a case, and statistics over cases."""
