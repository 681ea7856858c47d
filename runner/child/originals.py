"""Functions of the standard library as they were before a project could patch them, as gevent does.

What a project makes of them is then its own affair, not that of the zygote. For the same reason this program calls
`posix` instead of `os` all over.
"""

import json
import pickle
import select
import time

read_json, write_json = json.loads, json.dumps
pickle_of = pickle.dumps
poll, sleep = select.poll, time.sleep
