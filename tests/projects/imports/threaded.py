import os
import threading
import time

IMPORTED_BY = os.getpid()
threading.Thread(target=time.sleep, args=(600,), daemon=True, name="poller").start()


def where():
    return {"imported_by": IMPORTED_BY, "pid": os.getpid(), "threads": threading.active_count()}
