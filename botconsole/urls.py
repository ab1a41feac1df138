"""Every address of the console."""

from django.contrib import admin
from django.urls import include, path
from django.urls.resolvers import RoutePattern, URLResolver
from django.views.generic import RedirectView
from django.views.i18n import set_language

from events.views import webhook
from incidents import reviewadmin

from .metrics import metrics

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("webhook/event", webhook, name="webhook-only-bot"),
    path("webhook/event/<slug:slug>", webhook, name="webhook"),
    path("admin/incidents/", include(reviewadmin.urlpatterns)),
    path("admin/", admin.site.urls),
    # What include() does, but at the first request to it: REST framework is not for processes that answer webhooks.
    URLResolver(RoutePattern("api/"), "botconsole.api"),
    path("metrics", metrics, name="metrics"),
    path("language", set_language, name="set_language"),
]
handler500 = "botconsole.problems.server_error"
