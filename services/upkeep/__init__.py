"""What an operator does with the numbers: rebuild and verify them, save, restore and export them."""
