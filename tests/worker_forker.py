"""Starts worker processes quickly: imports everything once, then forks one worker for each line it reads."""

import os
import sys

import django

if __name__ == "__main__":
    django.setup()
    from botconsole.worker import Worker
    from events.feishu import load_sdk

    load_sdk()
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # the log must not stand among the numbers
            Worker().run()
        print(child, flush=True)
