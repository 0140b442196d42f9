"""TODO measure"""
