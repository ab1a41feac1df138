"""The product's own settings, with the few values a test run must fix; TEST_DATABASE picks the database."""

import os

from tests import postgres

os.environ["ENV_FILE"] = os.devnull  # a developer's .env must not reach the tests
os.environ["SECRET_KEY"] = "only-for-tests"
os.environ["DATABASE_URL"] = (
    postgres.start() if os.environ.get("TEST_DATABASE", "sqlite") == "postgresql" else "sqlite:///:memory:"
)
for name in ("APP_ID", "APP_SECRET", "VERIFICATION_TOKEN", "ENCRYPT_KEY", "DOMAIN"):
    os.environ.pop(f"FEISHU_{name}", None)

from botconsole.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
REMEMBER_SECONDS = 0  # a test changes its bot and pushes at once
