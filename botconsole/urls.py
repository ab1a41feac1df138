"""Every address of the console."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from events.views import webhook

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("webhook/event", webhook, name="webhook-only-bot"),
    path("webhook/event/<slug:slug>", webhook, name="webhook"),
    path("admin/", admin.site.urls),
    path("language", set_language, name="set_language"),
]
