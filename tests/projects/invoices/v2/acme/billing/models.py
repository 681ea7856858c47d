class Invoice:
    """Release 2 counts in whole euros."""

    def __init__(self, number, euros):
        self.number = number
        self.cents = euros * 100
