"""Programs that measure within a process of the console; each prints what it found. Run by the modules above."""

import django

django.setup()
