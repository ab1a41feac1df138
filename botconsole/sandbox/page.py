"""The page a person looks at: one HTML file and its static files, served as they are."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).resolve().parent.parent
INDEX, STATIC = HERE / "templates" / "sandbox" / "index.html", HERE / "static"


async def index(request: Request) -> Response:
    return FileResponse(INDEX, media_type="text/html", headers={"Cache-Control": "no-cache"})


async def icon(request: Request) -> Response:
    return FileResponse(STATIC / "sandbox" / "icon.svg", media_type="image/svg+xml")


def routes() -> list[BaseRoute]:
    return [
        Route("/", index),
        Route("/favicon.ico", icon),
        Mount("/static/sandbox", StaticFiles(directory=STATIC / "sandbox")),
        Mount("/static/botconsole", StaticFiles(directory=STATIC / "botconsole", check_dir=False)),
    ]
