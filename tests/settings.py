"""The product's own settings, with the few values a test run must fix; TEST_DATABASE_URL picks PostgreSQL."""

import os

os.environ["ENV_FILE"] = os.devnull  # a developer's .env must not reach the tests
os.environ["SECRET_KEY"] = "only-for-tests"
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "sqlite:///:memory:")
for name in ("APP_ID", "APP_SECRET", "VERIFICATION_TOKEN", "ENCRYPT_KEY", "DOMAIN"):
    os.environ.pop(f"FEISHU_{name}", None)

from botconsole.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
