"""Orders, release 1: amounts are euros as floats, a voucher is its code and comes off before tax."""

__version__ = "1.0.0"
