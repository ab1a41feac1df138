"""`manage.py create_api_key NAME --scope incidents`: makes a key for the API and prints it, once."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from botconsole.models import SCOPES, ApiKey


class Command(BaseCommand):
    help = "Makes an API key and prints it once; only a hash of it is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="who uses it; stands in the timeline as the person")
        parser.add_argument(
            "--scope",
            action="append",
            required=True,
            metavar="SCOPE",
            dest="scopes",
            help=f"what it may do, may be given more than once: {', '.join(SCOPES)}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _key, text = ApiKey.objects.issue(options["name"].strip(), options["scopes"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(text)
        self.stderr.write("Keep it now: it is not shown again. Use: Authorization: Bearer <key>")
