"""All settings, grouped by what an operator sets; every value comes from the environment or `.env`."""

import os
from pathlib import Path
from zoneinfo import available_timezones

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured

from botconsole.environment import database, number, one_of, secret, switch

django_stubs_ext.monkeypatch()  # lets ModelAdmin[Event] and the like be written as the type checker wants them

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(os.environ.get("ENV_FILE", BASE_DIR / ".env"))

# --- The site -------------------------------------------------------------------------------------------
DEBUG = switch("DEBUG", default=False)

SECRET_KEY = secret("SECRET_KEY")
# Former keys that still verify (sessions, the cards in the chats), while a new SECRET_KEY signs.
SECRET_KEY_FALLBACKS = [key.strip() for key in secret("SECRET_KEY_FALLBACKS").split(",") if key.strip()]
PLACEHOLDER_SECRET_KEY = "change-me"  # what .env.example says  # noqa: S105
if not DEBUG and SECRET_KEY in ("", PLACEHOLDER_SECRET_KEY):
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Put a long random value into the environment or .env, for instance from:"
        " python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
    )
SECRET_KEY = SECRET_KEY or "insecure-key-for-debug-only"

PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
# Behind a reverse proxy that sets X-Forwarded-Proto itself.
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if switch("BEHIND_PROXY", default=HTTPS) else None
)
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains and preload are for the owner of the domain to decide
    "security.W008",  # the redirect to https belongs to the proxy that holds the certificate
    "security.W021",
]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# The names are Django 6's; botconsole.csp is the back-port.
SECURE_CSP = {
    "default-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}

# --- The database ---------------------------------------------------------------------------------------
DATABASES = {"default": database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
DATABASES["default"].update(CONN_MAX_AGE=600, CONN_HEALTH_CHECKS=True)
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction that will write takes its place in the queue at once, instead of failing when
    # it finds out half-way. FULL: an event that was answered with 200 survives a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=20000;",
    }
else:
    # Only statements that ask for it (events.models.rows) are planned once a connection: Django writes the values of
    # its own into their texts.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("prepare_threshold", 2**31)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Feishu: the first bot (`manage.py setup_bot` reads these; further bots live in the admin) -----------
FEISHU_APP_ID = env.str("FEISHU_APP_ID", default="")
FEISHU_APP_SECRET = secret("FEISHU_APP_SECRET")
FEISHU_VERIFICATION_TOKEN = secret("FEISHU_VERIFICATION_TOKEN")
FEISHU_ENCRYPT_KEY = secret("FEISHU_ENCRYPT_KEY")
FEISHU_DOMAIN = env.str("FEISHU_DOMAIN", default="https://open.feishu.cn").rstrip("/")

# Keys that seal the bots' secrets in the database: the first seals, all unseal. Empty: made from SECRET_KEY.
SEALING_KEYS = [key.strip() for key in secret("SEALING_KEYS").split(",") if key.strip()]

# --- Receiving and sending ------------------------------------------------------------------------------
# Feishu pushes an event again for up to 7 hours; older signatures are refused.
WEBHOOK_MAX_AGE_SECONDS = number("WEBHOOK_MAX_AGE_SECONDS", 8 * 3600)
# How long events and calls are kept; a bot may say otherwise. What belongs to incidents stays.
RETAIN_EVENTS_DAYS = number("RETAIN_EVENTS_DAYS", 90)
RETAIN_OUTBOX_DAYS = number("RETAIN_OUTBOX_DAYS", 90)
# How long a process goes by what it has read of bots and templates before it asks the database again.
REMEMBER_SECONDS = number("REMEMBER_SECONDS", 1, at_least=0)
LATE_AFTER_SECONDS = number("LATE_AFTER_SECONDS", 3600)
# How long the file of an incident's export is kept; 0 keeps it for ever.
EXPORT_DAYS = number("EXPORT_DAYS", 30, at_least=0)
# Chats from which /incident may open one, separated by commas. Empty: every chat with a bot.
INCIDENT_OPENING_CHATS = env.list("INCIDENT_OPENING_CHATS", default=[])
CALLS_IN_FLIGHT = number("CALLS_IN_FLIGHT", 16)
ROUTES_MODULE = "botconsole.routes"

# --- Language and time ----------------------------------------------------------------------------------
TIME_ZONE = one_of("TIME_ZONE", "Asia/Shanghai", available_timezones())
USE_TZ = True
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "botconsole" / "locale"]

# --- Logs -----------------------------------------------------------------------------------------------
LOG_LEVEL = one_of("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s  %(message)s"}},
    # A 503 is always our own answer, logged where it was decided.
    "filters": {
        "no_503": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", 0) != 503,
        }
    },
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "line",
            "filters": ["no_503"],
        }
    },
    "root": {"handlers": ["stdout"], "level": "WARNING"},
    "loggers": {
        **{name: {"level": LOG_LEVEL} for name in ("botconsole", "events", "templates", "incidents")},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # anyone can send a wrong Host
    },
}

# --- The program (nothing below is an operator's) -------------------------------------------------------
INSTALLED_APPS = [
    "botconsole.apps.ConsoleConfig",
    "botconsole.apps.ConsoleAdminConfig",
    "events",
    "templates",
    "incidents",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",  # for its translations
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "botconsole.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "botconsole.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "botconsole.urls"
WSGI_APPLICATION = "botconsole.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Found through the app botconsole; the top-level package templates/ is an app, not a folder of HTML.
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # served from the packages themselves: no collectstatic step to forget
WHITENOISE_AUTOREFRESH = DEBUG
SESSION_COOKIE_AGE = 14 * 24 * 3600
LOGIN_URL = "admin:login"

# --- The API (a class named here must stand in a module that imports nothing of rest_framework.views) ------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["botconsole.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["botconsole.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["botconsole.parsers.CappedJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "botconsole.parsers.OrderedCursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "botconsole.problems.problem_response",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "botconsole",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],  # the description of the API is public
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "Severity": "incidents.models.Severity",
        "IncidentStatus": "incidents.models.Incident.Status",
        "ResponderStatus": "incidents.models.Responder.Status",
        "Via": "incidents.models.Via",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "botconsole.api.describe_what_all_share",
    ],
}
