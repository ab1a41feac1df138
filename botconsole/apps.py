"""The two apps the console itself is: its composition, and Django's admin with the console's own site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AppConfig):
    name = "botconsole"

    def ready(self) -> None:
        from . import checks  # noqa: F401


class ConsoleAdminConfig(AdminConfig):
    default_site = "botconsole.admin.ConsoleAdminSite"
