import json


def dumped(value):
    return json.dumps(value)
