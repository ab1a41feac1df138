#!/usr/bin/env python
"""The command line of the console: `python manage.py help` lists its commands."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botconsole.settings")
    if sys.argv[1:2] == ["demo"]:
        from botconsole.demo import use_demo_environment

        use_demo_environment(sys.argv[2:])
    try:
        from django.conf import settings

        _ = settings.INSTALLED_APPS  # loads the settings now: what is wrong there is the operator's to read
    except ImproperlyConfigured as error:
        sys.exit(f"botconsole: {error}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
