"""Programs that run below us, and the modules that they are made of: see bootstrap.py. Nothing imports them."""
