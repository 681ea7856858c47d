"""Holds the child program alone. Nothing imports it, and nothing else may live here: until its first line has run,
Python has this folder on the import path of the child.
"""
