"""`ROUNDS`: the median milliseconds of a claim of 16 calls, each rolled back."""

import statistics
import sys
import time

from django.db import transaction
from django.utils import timezone

from events.lanes import claim, line_up
from events.models import Lane

while line_up(timezone.now()):
    pass
took = []
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    with transaction.atomic():
        found = [
            claim(timezone.now(), bot, call, urgency, 16) for urgency, bot, call in Lane.objects.groups()
        ]
        took.append((time.perf_counter() - began) * 1000)
        if sum(len(items) for items, _ in found) != 16:
            sys.exit(f"claimed {found}")
        transaction.set_rollback(True)
print(statistics.median(took))
