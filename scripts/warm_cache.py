"""Build the environments of code versions before a step waits for one: `hwe warm`, as a file to be pointed at.

    deploy hook       .venv/bin/python scripts/warm_cache.py --project /srv/orders --active
    container build   RUN HWE_HOME=/opt/hwe /opt/worker/bin/python scripts/warm_cache.py --project /srv/orders --zygotes
    cron              */10 * * * *  worker  /opt/worker/bin/python /opt/hwe-runner/scripts/warm_cache.py --active

Needs the package importable, that is its own virtual environment's Python. Arguments, output and exit codes are those
of `hwe warm` (0 all is ready, 1 some could not be built and a table says why, 2 wrong usage, 3 could not look).
"""

from __future__ import annotations

import sys

from runner.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["warm"]
    main()
