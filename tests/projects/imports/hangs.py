"""A module that never comes back from its import, and leaves a process in a session of its own behind."""

import os
import subprocess
import sys
import time

if "HWE_TEST_MARK" in os.environ:
    subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)", os.environ["HWE_TEST_MARK"]], start_new_session=True
    )
time.sleep(600)


def where():
    return None
