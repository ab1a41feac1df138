"""The app that greets: welcome templates, who was greeted, and the handlers that do it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TemplatesConfig(AppConfig):
    name = "templates"
    verbose_name = _("Welcome messages")
