"""The console's admin site: its name and its home page."""

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class ConsoleAdminSite(AdminSite):
    site_title = "botconsole"
    site_header = "botconsole"
    index_title = _("Overview")
