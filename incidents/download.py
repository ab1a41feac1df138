"""The zip of an export as an answer; for the console and the API."""

from django.http import StreamingHttpResponse

from .models import Export


def as_download(export: Export) -> StreamingHttpResponse:
    """The zip of an export that is done, streamed piece by piece."""
    headers = {
        "Content-Disposition": f'attachment; filename="{export.file_name}"',
        "Content-Length": str(export.size),
    }
    return StreamingHttpResponse(export.content(), content_type="application/zip", headers=headers)
