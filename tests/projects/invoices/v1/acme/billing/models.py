class Invoice:
    def __init__(self, number, cents):
        self.number = number
        self.cents = cents
